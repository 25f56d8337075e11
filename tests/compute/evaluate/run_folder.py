"""A run folder as a job finds it: spec, site and manifest; and models in the shape of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from harness.config.load import load_run_spec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest, write_manifest
from harness.plan.plan import build_plan, eval_plan
from harness.runs.checkpoints import mark_complete
from harness.runs.files import utc_now
from harness.runs.paths import RunPaths

RUN_ID = "20260101-000000-aaaa"


def model(folder: Path, **files: str) -> Path:
    """A folder that passes for a model; `files` by their names without what follows the dot."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(files.pop("config", "{}"))
    (folder / "model.safetensors").write_bytes(b"weights")
    for name, text in files.items():
        ending = "jinja" if name == "chat_template" else "json"
        (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    return folder


def checkpoint(run: RunPaths, step: int, **files: str) -> Path:
    """A marked checkpoint of the run."""
    folder = model(run.checkpoints / f"checkpoint-{step}", **files)
    mark_complete(folder)
    return folder


def run_folder(
    folder: Path, evaluation: dict[str, Any], site: dict[str, Any] | None = None, **spec: Any
) -> RunFacts:
    """A run that trains and evaluates; with `model` in its spec one of `eval`."""
    run = RunPaths(folder / "it's a run" / RUN_ID)
    run.root.mkdir(parents=True)
    evaluation = {"server": {"engine": "transformers", "gpus": 0}, **evaluation}
    given: dict[str, Any] = {"name": "run", "evaluation": evaluation, **spec}
    if "model" not in given:
        train = {"model_name": "m", "dataset_name": "d", "max_steps": 4, "save_steps": 2}
        given["train"] = train | given.get("train", {})
    run.spec.write_text(yaml.safe_dump(given))
    run.site.write_text(json.dumps({"benchmarks_dir": str(folder / "data"), **(site or {})}))
    loaded: Any = load_run_spec(run.spec)
    plan = (build_plan if isinstance(loaded, Spec) else eval_plan)(loaded, Site())
    write_manifest(
        run, Manifest(run_id=run.run_id, created=utc_now(), scheduler="local", plan=plan)
    )
    return RunFacts(run)
