"""A run on the command line: checked, shown, cancelled and retried, by its name or its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness.runs.files import write_json, write_text
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from harness.scheduling import submit as submitting
from harness.scheduling.schedulers.local_queue import Queue, QueuedJob, queue_file, read_queue
from tests.plan.test_plan import make_spec
from tests.preflight.support import MARKED, model, saved_dataset
from tests.scheduling.test_cells import planned
from tests.verbs.test_common import command

JOBS = {"train": "1", "eval-checkpoint-10": "2", "close": "3", "collect": "4"}


def queued(folder: Path, *phases: Any, alive: bool = True) -> RunPaths:
    """A run of one checkpoint on gsm8k whose jobs are in these phases, in the plan's order."""
    spec = make_spec(benchmarks=["gsm8k"], checkpoints="last")
    run = planned(folder / "runs", spec, JOBS, "local")
    write_text(run.site, (folder / "site.yaml").read_text())
    jobs = tuple(
        QueuedJob(id=job_id, name=name, script="s", array=name.startswith("eval"), minutes=1,
                  tasks=(0,) if name.startswith("eval") else (), phases=(phase,))
        for (name, job_id), phase in zip(JOBS.items(), phases, strict=True)
    )  # fmt: skip
    started = psutil.Process().create_time() if alive else 1.0
    queue = Queue(jobs=jobs, runner_pid=os.getpid(), runner_started=started)
    write_json(queue_file(run), queue.model_dump(mode="json"))
    return run


def test_the_state_shows_every_job_and_cell(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = queued(here, "running", "pending", "pending", "pending")
    assert command("status") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"it's a run é/20260101-000000-aaaa  {run.root}",
        "  train: job 1: running",
        "  eval-checkpoint-10: job 2: pending",
        "  close: job 3: pending",
        "  collect: job 4: pending",
        "  checkpoint-10 x gsm8k: queued",
    ]
    assert command("status", "it's a run é", "--json") == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["run"], state["ended"], state["problem"]) == (str(run.root), False, "")
    assert state["jobs"]["train"] == [{"phase": "running", "detail": ""}]
    assert [cell["state"] for cell in state["cells"]] == ["queued"]


def test_followed_to_its_end_it_fails_with_the_jobs_that_did(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queued(here, "completed", "failed", "completed", "completed")
    assert command("status", "--wait") == 1
    out, err = capsys.readouterr()
    assert "1 cells: 1 failed" in out
    assert "train: completed" in err and "not completed: eval-checkpoint-10; logs: " in err


def test_a_run_that_is_not_there_is_one_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("status", "cancel", "retry"):
        assert command(verb) == 2
        assert "no run under" in capsys.readouterr().err
    queued(here, *["completed"] * 4)
    for verb in ("status", "cancel", "retry"):
        assert command(verb, "20260101-000000-aaab") == 2
        out, err = capsys.readouterr()
        assert out == "" and "did you mean '20260101-000000-aaaa'?" in err


def test_cancelling_names_what_was_cancelled_and_once_more_is_no_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = queued(here, "completed", "running", "pending", "pending")
    name = "it's a run é/20260101-000000-aaaa"
    assert command("cancel") == 0
    assert capsys.readouterr().out == f"{name}: cancelled eval-checkpoint-10, close, collect\n"
    assert [j.phases[0] for j in read_queue(run).jobs] == ["completed", *["cancelled"] * 3]
    assert command("cancel", str(run.root)) == 0
    assert capsys.readouterr().out == f"{name}: cancelled nothing: all had ended\n"


def test_a_retry_is_shown_before_it_is_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = queued(here, "completed", "failed", "completed", "completed", alive=False)
    before = run.manifest.read_bytes()
    assert command("retry", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("train: never begun at step 0 of 10; goes on")
    assert out.splitlines()[-1] == "dry run: nothing was submitted"
    assert err == ""
    assert command("retry", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "run": str(run.root), "submitted": False,
        "jobs": {"train": [], "eval-checkpoint-10": [0], "close": [], "collect": []},
    }  # fmt: skip
    assert "goes on from its newest complete checkpoint" in err
    assert run.manifest.read_bytes() == before


def test_a_run_of_which_all_is_ok_has_nothing_to_retry(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = queued(here, *["completed"] * 4)
    cell = run.cell("checkpoint-10", "gsm8k")
    write_json(cell.metrics, {"gsm8k": {"pass@1": {"symbolic_correct": 1.0}}})
    write_task(cell, TaskRecord(state="ok"))
    write_json(run.train_state, {"state": "complete", "step": 10})
    assert command("retry") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["1 cells are ok and stay as they are", "nothing to retry"]


def test_what_no_retry_can_mend_is_told_by_the_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = queued(here, "completed", "failed", "completed", "completed")
    write_json(run.train_state, {"state": "complete", "step": 10})
    assert command("retry", "--dry-run") == 1
    assert "cannot be retried: checkpoint-10 x gsm8k" in capsys.readouterr().out


def test_a_run_that_is_not_over_is_not_retried(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queued(here, "running", "pending", "pending", "pending")
    assert command("retry") == 2
    assert "is not over: train, eval-checkpoint-10" in capsys.readouterr().err


@pytest.fixture
def spec(here: Path) -> Path:
    """A right spec of a run on CPU."""
    model(here / "model")
    saved_dataset(here / "data")
    (here / "t.jinja").write_text(MARKED)
    train = {"model_name": "model", "dataset_name": "data", "max_steps": 2, "use_cpu": True,
             "chat_template_path": "t.jinja", "bf16": False}  # fmt: skip
    (here / "mine.yaml").write_text(yaml.safe_dump({"train": train}))
    return here / "mine.yaml"


def test_a_check_is_exit_code_2_for_errors_and_its_findings_can_be_read_by_programs(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("--set", "train.chat_template_path=absent.jinja")
    assert command("check", "mine.yaml", *wrong) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "1 error, 0 warnings"
    assert command("check", "mine.yaml", *wrong, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert [f["place"] for f in found if f["level"] == "error"] == ["train.chat_template_path"]
    assert not (spec.parent / "runs").exists()


def test_what_is_submitted_is_told_with_the_next_commands(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[Any] = []

    def submit(given: Any, run_job: Any, report: Any) -> RunPaths:
        staged.append(given)
        return RunPaths(given.run.root)

    monkeypatch.setattr(submitting, "submit", submit)
    asked = ("submit", "mine.yaml", "--no-check", "--set", "train.max_steps=7")
    assert command(*asked) == 0
    run = staged[0].run
    assert staged[0].plan.total_steps == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "warning: --no-check: nothing was checked: what is wrong shows in the queue",
        f"run mine/{run.run_id} (local): {run.root}",
        f"follow it:  python -m harness status {run.run_id} --wait",
        f"the table:  python -m harness collect {run.run_id}",
    ]
    assert command(*asked, "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {"run": str(staged[1].run.root), "scheduler": "local"}


def test_where_there_is_no_plan_what_was_found_before_is_told_too(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = (
        "train.max_steps=null",
        "train.dataset_name=absent",
        "train.chat_template_path=x.jinja",
    )
    assert command("submit", "mine.yaml", *(x for text in wrong for x in ("--set", text))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "train.dataset_name: " in err and "absent: no such folder" in err
    assert "train.chat_template_path: " in err and "train.max_steps" in err
