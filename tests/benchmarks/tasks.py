"""One task per benchmark against one for all: seconds of start, generate, grade and idle.

    python -m tests.benchmarks.tasks MODEL [ENGINE] [ITEMS]

Evaluates a model on arithmetic and instructions both ways, by the local scheduler, which runs one
task after the other, and prints what task.json says of each, and what `check` then recommends.
ENGINE is transformers (default) or vllm (in this environment).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from harness.config.evaluation import EvaluationSpec
from harness.config.load import load_site
from harness.preflight.evaluation.cost import PHASES, check_tasks
from harness.runs.metrics import read_task
from harness.runs.paths import find_run
from tests.support import harness

BENCHMARKS = ("arithmetic", "instructions")


def main(model: str, engine: str = "transformers", items: str = "8") -> None:
    settings = {"max_items": items, "sampling.max_tokens": "32", "server.gpus": "0",
                "sampling.temperature": "0", "server.dtype": "float32", "gates.truncated": "warn",
                "gates.identical": "warn", "gates.zero": "warn"}  # fmt: skip
    totals = {}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        site_file = base / "site.yaml"
        site_file.write_text(
            yaml.safe_dump({"scheduler": "local", "runs_dir": str(base / "runs"),
                            "benchmarks_dir": str(base / "data")})
        )  # fmt: skip
        for tasks in ("per-benchmark", "one"):
            sets = [
                w for k, v in {**settings, "tasks": tasks}.items() for w in ("--set", f"{k}={v}")
            ]
            done = harness("eval", model, "-b", ",".join(BENCHMARKS), "--engine", engine, "--local",
                           "--name", "tasks", *sets, "--site", str(site_file))  # fmt: skip
            if done.returncode != 0:
                sys.exit(f"{done.stdout}\n{done.stderr}"[-4000:])
            run = find_run("tasks", base / "runs")
            cells = [read_task(run.cell("base", benchmark)) for benchmark in BENCHMARKS]
            seconds = [cell.facts["seconds"] for cell in cells if cell]
            by_phase = {phase: sum(s.get(phase, 0.0) for s in seconds) for phase in PHASES}
            totals[tasks] = sum(by_phase.values())
            shown = "  ".join(f"{phase} {value:.1f} s" for phase, value in by_phase.items())
            print(f"{tasks:14} {shown}  together {totals[tasks]:.1f} s", flush=True)
            evaluation = yaml.safe_load(run.spec.read_text())["evaluation"]
            spec = EvaluationSpec.model_validate(evaluation)
            for finding in check_tasks("tasks", spec, load_site(site_file)):
                print(f"  {finding}")
    print(f"one for all takes {totals['one'] / totals['per-benchmark']:.2f} of one per benchmark")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:4])
