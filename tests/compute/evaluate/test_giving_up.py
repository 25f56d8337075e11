"""Whatever ends a task is written into the cells that it leaves without a result."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.giving_up import go_on, stop_on_term, told_in_cells
from harness.errors import ServerError
from harness.plan.plan import Cell
from harness.runs.files import write_json
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import CellPaths, RunPaths

CELLS = [Cell(checkpoint="base", benchmark=name) for name in ("gsm8k", "mmlu", "ifeval")]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run" / "20260101-000000-abcd")


def paths(run: RunPaths, number: int) -> CellPaths:
    return run.cell(CELLS[number].checkpoint, CELLS[number].benchmark)


def ended(run: RunPaths, error: BaseException) -> list[tuple[str, str]]:
    with pytest.raises(type(error)), told_in_cells(run, CELLS, "/log", []):
        raise error
    found = [read_task(paths(run, n)) for n in range(3)]
    return [(r.state, r.reason) if r else ("", "") for r in found]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ServerError("does not start\nits last lines: …"), "does not start"),
        (FileNotFoundError(2, "No such file", "t.jinja"),
         "FileNotFoundError: [Errno 2] No such file: 't.jinja'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
         "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (KeyboardInterrupt(), "its task was interrupted"),
        (SystemExit(143),
         "its task was told to stop (SIGTERM): cancelled, preempted or out of time"),
    ],
)  # fmt: skip
def test_whatever_ends_a_task_is_the_reason_of_each_cell(
    run: RunPaths, error: BaseException, told: str
) -> None:
    assert ended(run, error) == [("failed", told)] * 3
    record = read_task(paths(run, 0))
    assert record is not None and record.log == "/log" and record.ended


def test_a_job_that_is_put_back_into_the_queue_has_not_ended(run: RunPaths) -> None:
    assert ended(run, SystemExit(-1)) == [("", "")] * 3


def test_a_result_stays_and_what_is_known_of_answers_too(run: RunPaths) -> None:
    write_json(paths(run, 0).metrics, {"gsm8k": {"pass@1": {"x": 1}}})
    write_task(paths(run, 0), TaskRecord(state="ok"))
    write_task(paths(run, 1), TaskRecord(state="answered", facts={"answers_kept": True}))
    paths(run, 2).root.mkdir(parents=True)
    paths(run, 2).task.write_text("{torn")
    assert ended(run, KeyError("x")) == [("ok", ""), *[("failed", "KeyError: 'x'")] * 2]
    kept = read_task(paths(run, 1))
    assert kept is not None and kept.is_answered


def test_a_cell_that_is_known_is_told_by_its_work(run: RunPaths) -> None:
    class Work:
        cell = CELLS[1]
        told: Any = None

        def fail(self, error: BaseException) -> None:
            self.told = error
            raise OSError("the disk is full")

    work = Work()
    with pytest.raises(ServerError), told_in_cells(run, CELLS, "", [work]):  # type: ignore[list-item]
        raise ServerError("gone")
    assert str(work.told) == "gone"
    assert [read_task(paths(run, n)) is not None for n in range(3)] == [True, False, True]


def test_term_ends_the_work_as_an_exception_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop_on_term()
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_job_that_goes_on_takes_back_that_it_ended(run: RunPaths) -> None:
    write_task(paths(run, 0), TaskRecord(state="failed", reason="r", ended="t", facts={"n": 1}))
    go_on(paths(run, 0))
    assert read_task(paths(run, 0)) == TaskRecord(state="running", facts={"n": 1})
    write_task(paths(run, 1), TaskRecord(state="answered"))
    for number in (1, 2):
        go_on(paths(run, number))
    assert read_task(paths(run, 1)) == TaskRecord(state="answered")
    assert read_task(paths(run, 2)) is None
