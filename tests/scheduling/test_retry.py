"""`retry`: what is submitted again, and a run on this machine that fails, is mended and pruned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness.config.site import Site
from harness.errors import UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest
from harness.plan.plan import build_plan
from harness.runs.files import utc_now
from harness.runs.metrics import TaskRecord
from harness.runs.paths import RunPaths
from harness.scheduling.cells import CellStatus
from harness.scheduling.retry import RetryPlan, check_ended, plan_retry, retrying
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.status import RunStatus
from tests.plan.test_plan import make_spec
from tests.support import ROOT

C4, C8, C10 = "checkpoint-4", "checkpoint-8", "checkpoint-10"


def status(train: str, bad: dict[tuple[str, str], Any] | None = None, **jobs: Any) -> RunStatus:
    """A run of checkpoints 4, 8 and 10 x gsm8k and ifeval; all cells ok but the `bad`."""
    plan = build_plan(make_spec(), Site())
    cells = [
        CellStatus(cell, (bad or {}).get((cell.checkpoint, cell.benchmark), "ok"))
        for cell in plan.cells
    ]
    states = {job.name: [JobState("completed")] * max(len(job.tasks), 1) for job in plan.jobs}
    manifest = Manifest(run_id="r", created=utc_now(), scheduler="slurm", plan=plan)
    facts = RunFacts(RunPaths(Path("/runs/run/r")))
    facts.manifest = manifest
    return RunStatus(facts, states | jobs, cells, {"state": train} if train else {})


def submitted(plan: RetryPlan) -> dict[str, tuple[tuple[int, ...], tuple[tuple[str, str], ...]]]:
    return {again.job.name: (again.tasks, again.after) for again in plan.jobs}


def test_nothing_is_submitted_when_all_is_ok() -> None:
    plan = plan_retry(status("complete"), {C4, C8, C10})
    assert (plan.jobs, plan.ok, plan.hopeless) == ((), 6, ())


def test_only_the_tasks_that_are_not_ok_are_submitted() -> None:
    bad = {(C4, "ifeval"): "failed", (C8, "gsm8k"): "invalid", (C8, "ifeval"): "stale"}
    plan = plan_retry(status("complete", bad), {C4, C8, C10})
    assert submitted(plan) == {
        f"eval-{C4}": ((1,), ()),
        f"eval-{C8}": ((0, 1), ()),
        "collect": ((), (("afterany", f"eval-{C4}"), ("afterany", f"eval-{C8}"))),
    }
    assert plan.ok == 3


@pytest.mark.parametrize("state", ["", "failed", "preempted", "running"])
def test_training_that_is_not_complete_goes_on_and_arrays_wait_for_it(state: str) -> None:
    bad = {(C4, "ifeval"): "failed"} | {(C10, b): "missing" for b in ("gsm8k", "ifeval")}
    found = submitted(plan_retry(status(state, bad), {C4, C8}))
    assert list(found) == ["train", f"eval-{C4}", f"eval-{C10}", "close", "collect"]
    assert found[f"eval-{C4}"] == ((1,), ())
    assert found[f"eval-{C10}"] == ((0, 1), (("afterok", "train"),))
    assert found["close"] == ((), (("afterany", "train"),))


def test_a_checkpoint_gone_after_training_is_told_and_nothing_is_trained_again() -> None:
    plan = plan_retry(status("complete", {(C8, "gsm8k"): "failed"}), {C4, C10})
    assert plan.jobs == ()
    assert [(c.cell.checkpoint, c.cell.benchmark) for c in plan.hopeless] == [(C8, "gsm8k")]


def judged(bad: dict[str, Any], *checkpoints: str) -> dict[str, Any]:
    """What a retry submits of a run with gsm8k and a judged mt-bench on each checkpoint."""
    spec = make_spec(benchmarks=["gsm8k", "mt-bench"], judge={"model": "j"})
    plan = build_plan(spec, Site())
    cells = [CellStatus(cell, "ok") for cell in plan.cells if cell.checkpoint != C4]
    for cell in plan.cells[:2]:
        state, kept = bad.get(cell.benchmark, ("ok", False))
        record = TaskRecord(state=state, facts={"answers_kept": kept})
        cells.append(CellStatus(cell, state, record=record))
    states = {job.name: [JobState("completed")] * max(len(job.tasks), 1) for job in plan.jobs}
    manifest = Manifest(run_id="r", created=utc_now(), scheduler="slurm", plan=plan)
    facts = RunFacts(RunPaths(Path("/r/r")))
    facts.manifest = manifest
    run = RunStatus(facts, states, cells, {"state": "complete"})  # type: ignore[arg-type]
    found = plan_retry(run, set(checkpoints))
    if not found.jobs:
        assert [c.cell.benchmark for c in found.hopeless] == list(bad)
    return submitted(found)


def test_a_judge_that_failed_is_asked_again_without_its_array() -> None:
    found = judged({"mt-bench": ("failed", True)}, C4, C8, C10)
    assert found == {
        f"judge-{C4}": ((), ()),
        "collect": ((), (("afterany", f"judge-{C4}"),)),
    }


def test_answers_that_are_missing_are_asked_first_and_judged_after() -> None:
    found = judged({"mt-bench": ("failed", False)}, C4, C8, C10)
    assert found[f"eval-{C4}"] == ((1,), ())
    assert found[f"judge-{C4}"] == ((), (("afterany", f"eval-{C4}"),))


def test_another_benchmarks_failure_bothers_no_judge() -> None:
    found = judged({"gsm8k": ("failed", False)}, C4, C8, C10)
    assert list(found) == [f"eval-{C4}", "collect"]


def test_answers_of_a_checkpoint_that_is_gone_are_not_judged() -> None:
    assert judged({"mt-bench": ("failed", True)}, C8, C10) == {}


def test_a_run_that_may_still_run_is_refused() -> None:
    check_ended(status("complete"), forgotten=False)
    for phase in ("pending", "running"):
        living = status("complete", collect=[JobState(phase)])  # type: ignore[arg-type]
        with pytest.raises(UserError, match="is not over: collect still waiting or running"):
            check_ended(living, forgotten=True)
    unknown = status("complete", collect=[JobState("unknown")])
    with pytest.raises(UserError, match="no longer knows collect"):
        check_ended(unknown, forgotten=False)
    check_ended(unknown, forgotten=True)


def test_two_retries_at_once_are_refused(tmp_path: Path) -> None:
    run, refused = RunPaths(tmp_path), pytest.raises(UserError, match="another retry")
    with retrying(run), refused, retrying(run):
        pass


def make_folder(folder: Path) -> Path:
    """Model, data, site and spec of a run that keeps one of three checkpoints; the spec's path."""
    from tests.tiny_model import make_tiny_dataset, make_tiny_model

    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 32)
    site = {"scheduler": "local", "runs_dir": str(folder / "runs"),
            "benchmarks_dir": str(folder / "benchmarks")}  # fmt: skip
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    spec = {
        "name": "tiny",
        "train": {
            "model_name": str(folder / "model"), "dataset_name": str(folder / "data"),
            "chat_template_path": "templates/chat/qwen3.jinja", "max_length": 64,
            "use_cpu": True, "bf16": False, "max_steps": 3, "save_steps": 1, "logging_steps": 1,
            "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1,
            "keep_checkpoints": 1, "prune": "checkpoint",
        },
        "evaluation": {
            "benchmarks": ["arithmetic"], "max_items": 2,
            "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 4},
            "server": {"engine": "transformers", "gpus": 1, "dtype": "float32"},
        },
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(spec))
    return folder / "tiny.yaml"


def harness(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *argv, "--site", str(folder / "site.yaml")],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
        env={k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
    )  # fmt: skip


def kill_task_of(run: Path, task: Path) -> None:
    """kill -9 of the process that works on a cell, as soon as it does."""
    words = "submitit.core._submit", str(run / "logs" / f"eval-{task.parents[1].name}")
    found: list[psutil.Process] = []
    deadline = time.monotonic() + 600
    # The process is looked up before: it works for less than a second.
    while not found or not task.is_file() or json.loads(task.read_text())["state"] != "running":
        assert time.monotonic() < deadline, "the task did not begin"
        found = found or [
            p for p in psutil.process_iter(["cmdline"]) if set(words) <= set(p.info["cmdline"] or ())
        ]  # fmt: skip
        time.sleep(0.02)
    for process in found:
        process.kill()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_here_a_killed_task_is_retried_and_what_is_evaluated_is_pruned(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    pytest.importorskip("aiohttp", reason="needs the extra `eval`")
    done = harness(tmp_path, "submit", str(make_folder(tmp_path)))
    assert done.returncode == 0, done.stderr
    run = (tmp_path / "runs" / "tiny" / "latest").resolve()
    refused = harness(tmp_path, "retry")
    assert (refused.returncode, "is not over" in refused.stderr) == (2, True), refused.stderr
    kill_task_of(run, run / "eval" / "checkpoint-1" / "arithmetic" / "task.json")
    followed = harness(tmp_path, "status", "--wait", "--poll", "1")
    assert "3 cells: 2 ok, 1 failed" in followed.stdout, (followed.stdout, followed.stderr)
    assert followed.returncode == 1
    # 2 was evaluated and went; 1 was not, and stays; 3 is the newest.
    assert sorted(p.name for p in (run / "checkpoints").glob("checkpoint-*")) == [
        "checkpoint-1", "checkpoint-3",
    ]  # fmt: skip
    kept = [run / "eval" / c / "arithmetic" / "task.json" for c in ("checkpoint-2", "checkpoint-3")]
    before = [path.read_bytes() for path in kept]
    shown = harness(tmp_path, "retry", "--dry-run")
    assert (shown.returncode, "arithmetic (failed)" in shown.stdout) == (0, True), shown.stderr
    assert "checkpoint-2" not in shown.stdout
    again = harness(tmp_path, "retry", "--wait", "--poll", "1")
    assert again.returncode == 0, (again.stdout, again.stderr)
    assert [path.read_bytes() for path in kept] == before, "an ok cell was made again"
    assert [p.name for p in (run / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]
    table = json.loads(harness(tmp_path, "collect", "--json").stdout)
    assert table["complete"], table
    assert [row["checkpoint"] for row in table["rows"]] == [
        "checkpoint-1", "checkpoint-2", "checkpoint-3",
    ]  # fmt: skip
    assert [row["arithmetic/pass@1/num_entries"] for row in table["rows"]] == [2, 2, 2]
    nothing = harness(tmp_path, "retry")
    assert (nothing.returncode, "nothing to retry" in nothing.stderr) == (0, True), nothing.stderr
