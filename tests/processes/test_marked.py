"""Processes are known by a variable in their environment, orphans among them."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.processes.marked import lives, living, marked
from harness.processes.tree import send
from tests.processes.support import gone, number_in, until

VARIABLE = "HARNESS_TEST_MARK"


@pytest.fixture
def mark() -> Iterator[str]:
    """A value of this test alone, with characters that a shell would trip over."""
    value = f"{uuid.uuid4()} 'a' \"b\"\nc=d é"
    yield value
    send([process.pid for process in marked(VARIABLE, value)], signal.SIGKILL)


def started(value: str, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env={**os.environ, VARIABLE: value}, start_new_session=True)


def ids(processes: list[psutil.Process]) -> list[int]:
    return [process.pid for process in processes]


def test_a_marked_process_is_found_and_one_of_another_value_is_not(mark: str) -> None:
    ours, other = started(mark, "sleep", "60"), started(f"{mark}x", "sleep", "60")
    try:
        until(lambda: marked(VARIABLE, mark))
        assert ids(marked(VARIABLE, mark)) == [ours.pid]
        assert marked(f"{VARIABLE}_2", mark) == []
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()
    assert marked(VARIABLE, mark) == []


def test_an_orphan_is_found_though_no_parent_leads_to_it(mark: str, tmp_path: Path) -> None:
    note = tmp_path / "orphan"
    started(mark, "sh", "-c", 'sleep 60 & echo $! > "$1"', "sh", str(note)).wait()
    orphan = number_in(note)
    assert ids(marked(VARIABLE, mark)) == [orphan]


def test_only_those_are_looked_at_that_are_named(mark: str) -> None:
    process = started(mark, "sleep", "60")
    until(lambda: marked(VARIABLE, mark))
    assert marked(VARIABLE, mark, []) == []
    assert marked(VARIABLE, mark, [psutil.Process()]) == []
    found = marked(VARIABLE, mark, [psutil.Process(), psutil.Process(process.pid)])
    assert ids(found) == [process.pid]
    process.kill()
    process.wait()
    assert marked(VARIABLE, mark, found) == []


def test_a_zombie_does_not_live_and_neither_does_one_that_is_gone() -> None:
    process = subprocess.Popen(["sleep", "60"])
    known = psutil.Process(process.pid)
    assert lives(known)
    assert living([known, psutil.Process()]) == [process.pid, os.getpid()]
    process.kill()
    until(lambda: gone(process.pid))
    assert not lives(known)
    process.wait()
    assert not lives(known)
    assert living([known]) == []


def test_another_process_of_the_same_id_is_not_the_one_that_was_meant() -> None:
    process: Any = psutil.Process()
    process._create_time = process.create_time() - 100  # as if it had been started before ours
    process._ident = (process.pid, process._create_time)
    assert not lives(process)
