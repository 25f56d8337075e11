"""Helper processes: order, time limits, death, and nonsense answers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.compute.evaluate.graders.workers import Command, Failure, run_tasks
from harness.errors import EvaluationError
from tests.support import ROOT

_HELPER = """
import os, sys, time
sys.path.insert(0, {root!r})
from harness.compute.evaluate.graders.workers import serve

def answer(task):
    if task["do"] == "sleep":
        open(task.get("mark", os.devnull), "w").close()
        time.sleep(60)
    if task["do"] == "die":
        os._exit(3)
    if task["do"] == "die once" and not os.path.exists(task["mark"]):
        open(task["mark"], "w").close()
        os._exit(3)
    if task["do"] == "babble":
        os.write(1, b"nonsense\\n")
    if task["do"] == "flood":
        os.write(1, b"x" * (2 << 20))
    if task["do"] == "pid":
        return os.getpid()
    return task["do"]

serve(answer, retire=lambda: len(sys.argv) > 1)
"""


@pytest.fixture
def helper(tmp_path: Path) -> list[str]:
    script = tmp_path / "helper.py"
    root = str(ROOT)
    script.write_text(_HELPER.format(root=root))
    return [sys.executable, str(script)]


def test_answers_come_in_the_order_of_the_tasks(helper: list[str]) -> None:
    tasks = [{"do": str(number)} for number in range(20)]
    answers = run_tasks(Command(helper), tasks, [10.0] * 20, workers=3)
    assert answers == [str(number) for number in range(20)]


@pytest.mark.long
def test_a_task_that_hangs_dies_or_babbles_fails_alone(helper: list[str]) -> None:
    tasks = [{"do": do} for do in ("a", "die", "b", "babble", "c", "flood", "d", "sleep", "e")]
    began = time.monotonic()
    answers = run_tasks(Command(helper), tasks, [2.0] * len(tasks), workers=2)
    assert time.monotonic() - began < 30
    failed = [index for index, answer in enumerate(answers) if isinstance(answer, Failure)]
    assert failed == [1, 3, 5, 7]
    assert [answers[index] for index in (0, 2, 4, 6, 8)] == ["a", "b", "c", "d", "e"]
    assert isinstance(answers[7], Failure)
    assert answers[7].timed_out
    assert isinstance(answers[1], Failure)
    assert not answers[1].timed_out


def test_a_second_try_saves_an_item_that_another_one_damaged(
    helper: list[str], tmp_path: Path
) -> None:
    tasks = [{"do": "die once", "mark": str(tmp_path / "mark")}]
    assert run_tasks(Command(helper), tasks, [10.0]) == ["die once"]


def test_a_helper_that_retires_is_replaced(helper: list[str]) -> None:
    tasks = [{"do": "pid"}] * 3
    kept = run_tasks(Command(helper), tasks, [10.0] * 3, workers=1)
    replaced = run_tasks(Command([*helper, "retire"]), tasks, [10.0] * 3, workers=1)
    assert len(set(kept)) == 1
    assert len(set(replaced)) == 3


def test_a_watcher_ends_the_helper(helper: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def watch(pid: int) -> str | None:
        if not mark.exists():
            return None
        mark.unlink()
        return "too fat"

    began = time.monotonic()
    task = {"do": "sleep", "mark": str(mark)}
    (answer,) = run_tasks(Command(helper, watch=watch), [task], [50.0])
    assert time.monotonic() - began < 40
    assert isinstance(answer, Failure)
    assert "too fat" in answer.reason


def test_a_helper_that_cannot_start_is_an_error_with_what_it_said() -> None:
    command = Command([sys.executable, "-c", "raise SystemExit('no such thing')"])
    with pytest.raises(EvaluationError, match="no such thing"):
        run_tasks(command, [{}], [1.0])
    with pytest.raises(EvaluationError, match="not start"):
        run_tasks(Command(["/nonexistent/helper"]), [{}], [1.0])
