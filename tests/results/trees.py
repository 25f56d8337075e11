"""Small trees of results, as several programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, value: Any) -> Path:
    """A file of this text, or of this value as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def metrics(score: float, n: int = 10, name: str = "gsm8k") -> dict[str, Any]:
    """A metrics.json of one benchmark."""
    return {name: {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def ns(checkpoint: Path, score: float, name: str = "gsm8k", n: int = 10) -> Path:
    """A benchmark of a checkpoint as `ns eval` writes it, answers left out."""
    return write(checkpoint / "eval-results" / name / "metrics.json", metrics(score, n, name))


def cell(checkpoint: Path, score: float, name: str = "gsm8k", **record: Any) -> Path:
    """A cell of ours, without the manifest of its run; `state` is ok unless another is given."""
    write(checkpoint / name / "task.json", {"state": "ok", **record})
    return write(checkpoint / name / "metrics.json", metrics(score, name=name))


def lm_eval(
    folder: Path, results: dict[str, Any], model: str = "m", date: str = "2026-01-01T10-00-00.000000",
    **more: Any,
) -> Path:  # fmt: skip
    """A results file as lm-eval writes it, in the folder that it names after the model."""
    data = {"results": results, "versions": {}, "model_name": model, **more}
    return write(folder / model.replace("/", "__") / f"results_{date}.json", data)


def lighteval(folder: Path, results: dict[str, Any], model: str = "m", **more: Any) -> Path:
    """A results file as lighteval writes it."""
    data = {"config_general": {"model_name": model}, "results": results, "versions": {}, **more}
    return write(folder / "results" / model.strip("/") / "results_2026-01-01T10-00-00.json", data)
