"""The whole story with the `harness` that this Python has installed, from an empty folder.

    python tests/installed.py        # by tests/matrix.sh, with each interpreter's wheel

A tiny model is trained for two steps, evaluated and collected by the local scheduler; the spec
names a template as the docs write it, which only the installed package has here.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent

SPEC = """
name: tiny
train:
  model_name: model
  dataset_name: data
  chat_template_path: templates/chat/qwen3_nonthinking.jinja
  use_cpu: true
  cpu_processes: 1
  bf16: false
  gradient_checkpointing: false
  max_length: 128
  max_steps: 2
  save_steps: 2
  logging_steps: 1
  per_device_train_batch_size: 1
evaluation:
  benchmarks: [arithmetic, instructions]
  tasks: one
  max_items: 3
  sampling: {temperature: 1.0, top_p: 1.0, max_tokens: 8}
  server: {engine: transformers, gpus: 0, dtype: float32, flags: {device: cpu}}
"""


def main() -> None:
    """Print one line; exit code 1 when anything is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        print(whole_story(Path(folder)))


def whole_story(folder: Path) -> str:
    """Train, evaluate, collect; returns what came of it. Raises AssertionError."""
    sys.path[0] = str(TESTS)
    from tiny_model import make_tiny_dataset, make_tiny_model

    sys.path.pop(0)
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 16)
    (folder / "tiny.yaml").write_text(SPEC)
    (folder / "site.yaml").write_text("scheduler: local\nbenchmarks_dir: benchmarks\n")
    done = harness(folder, "submit", "tiny.yaml", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    run = folder / "runs" / "tiny" / "latest"
    manifest = json.loads((run / "manifest.json").read_text())
    assert "git_commit" not in manifest["environment"], manifest["environment"]
    assert sorted(p.name for p in (run / "code").iterdir()) == ["harness", "templates"]
    with (run / "results_long.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = {(row["checkpoint"], row["benchmark"]) for row in rows if row["value"]}
    assert len(cells) == 2, cells
    return f"{len(cells)} cells ok"


def harness(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The console script of this Python's environment."""
    program = Path(sys.executable).parent / "harness"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SLURM_"))}
    return subprocess.run(
        [str(program), *argv], cwd=folder, capture_output=True, text=True, timeout=900,
        env={**kept, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


if __name__ == "__main__":
    main()
