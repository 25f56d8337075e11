"""A process and all below it are found, signalled and ended, and nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.processes.tree import descendants, end, family, send, send_group
from tests.processes.support import gone, number_in, until

NOBODY = 2**30
"""No process id is as high."""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a shell in a session of its own; the whole of it is killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def shell(code: str, *words: str, cwd: Path) -> subprocess.Popen[bytes]:
        argv = ["sh", "-c", code, "sh", *words]
        started.append(subprocess.Popen(argv, cwd=cwd, start_new_session=True))
        return started[-1]

    yield shell
    for process in started:
        send_group(process.pid, signal.SIGKILL)
        process.wait()


CHAIN = "sh -c 'sleep 60 & echo $! > grandchild; wait' & echo $! > child; wait"
DEAF = "trap '' TERM; sleep 60 & echo $! > child; while :; do wait; done"


def test_all_below_a_process_are_found_and_it_itself_is_not(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(CHAIN, cwd=tmp_path)
    below = {number_in(tmp_path / "grandchild"), number_in(tmp_path / "child")}
    assert set(descendants(process.pid)) == below
    assert set(family(process.pid)) == {process.pid, *below}
    assert below < set(descendants(os.getpid()))


def test_a_program_with_brackets_and_spaces_in_its_name_hides_nothing(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """/proc/<pid>/stat holds the name as it is: `7 (x) Z 1 (y) S …`."""
    hostile = tmp_path / "x) Z 1 (y"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", hostile)
    process = start('"$1" 60 & echo $! > child; wait', str(hostile), cwd=tmp_path)
    child = number_in(tmp_path / "child")
    until(lambda: Path(f"/proc/{child}/comm").read_text() == "x) Z 1 (y\n")
    assert descendants(process.pid) == [child]


def test_children_of_another_thread_belong_to_the_family(tmp_path: Path) -> None:
    program = (
        "import subprocess, threading\n"
        "def run():\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    print(child.pid, flush=True)\n"
        "    child.wait()\n"
        "threading.Thread(target=run).start()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert list(family(process.pid)) == [process.pid, child]
        assert descendants(process.pid) == [child]
    finally:
        send_group(process.pid, signal.SIGKILL)
        process.communicate()


def test_zombies_are_told_only_on_request() -> None:
    process = subprocess.Popen(["true"])
    until(lambda: gone(process.pid))
    assert process.pid not in descendants(os.getpid())
    assert process.pid in descendants(os.getpid(), zombies=True)
    process.wait()
    assert process.pid not in descendants(os.getpid(), zombies=True)


def test_a_process_that_is_not_there_has_nobody_below_it() -> None:
    assert descendants(NOBODY) == []
    assert list(family(NOBODY)) == [NOBODY]


def test_a_signal_passes_over_who_is_gone_and_reaches_the_others() -> None:
    process = subprocess.Popen(["sleep", "60"])
    send([NOBODY, process.pid, NOBODY], signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    send([process.pid], signal.SIGTERM)
    send_group(process.pid, signal.SIGTERM)


def test_who_heeds_term_is_not_killed() -> None:
    process = subprocess.Popen(["sleep", "60"])
    looks: list[int] = []
    left = end(
        lambda: [process.pid] if process.poll() is None else [],
        grace_s=20,
        tick=lambda: looks.append(1),
    )
    assert left == []
    assert process.returncode == -signal.SIGTERM
    assert looks


@pytest.mark.parametrize("grace_s", [0, 0.2])
def test_who_is_deaf_to_term_is_killed_after_the_grace_with_those_that_came_since(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], grace_s: float
) -> None:
    process = start(DEAF, cwd=tmp_path)
    number_in(tmp_path / "child")
    later: list[subprocess.Popen[bytes]] = []
    looks: list[int] = []

    def members() -> list[int]:
        looks.append(1)
        if len(looks) == 2:  # after the only TERM
            later.append(start(DEAF, cwd=tmp_path / "later"))
        return [each.pid for each in (process, *later) if each.poll() is None]

    (tmp_path / "later").mkdir()
    began = time.monotonic()
    assert end(members, grace_s=grace_s) == []
    assert time.monotonic() - began >= grace_s
    assert process.returncode == later[0].returncode == -signal.SIGKILL


def test_without_grace_there_is_no_term(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start(
        "trap 'echo > told; exit' TERM; echo > ready; while :; do sleep 0.01; done", cwd=tmp_path
    )
    until((tmp_path / "ready").is_file)
    left = end(
        lambda: [process.pid] if process.poll() is None else [],
        grace_s=0,
        tick=lambda: time.sleep(0.1),  # time enough to say that TERM has come
    )
    assert left == []
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "told").exists()


def test_who_survives_is_told_after_the_limit() -> None:
    began = time.monotonic()
    assert end(lambda: iter([NOBODY]), grace_s=0.05, limit_s=0.1) == [NOBODY]
    assert 0.15 <= time.monotonic() - began < 10


def test_nobody_to_end_takes_no_time() -> None:
    began = time.monotonic()
    assert end(lambda: [], grace_s=60) == []
    assert time.monotonic() - began < 5
