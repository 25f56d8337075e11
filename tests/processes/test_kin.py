"""A process and all that it starts end together, however it ends and whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes.kin import end_group, end_with_starter, exit_code, kin
from harness.processes.tree import send_group
from tests.processes.support import gone, number_in, until
from tests.support import ROOT

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
FAMILY = """
trap '' TERM
sleep 60 & echo $! > child
setsid sh -c 'echo $$ > apart; exec sleep 60' &
wait
"""
"""Deaf to TERM, with a child in its group and one in a session of its own."""


def family(folder: Path) -> tuple[int, int]:
    return number_in(folder / "child"), number_in(folder / "apart")


def shell(folder: Path, code: str) -> list[str]:
    return ["sh", "-c", f'cd "$1"\n{code}', "sh", str(folder)]


@pytest.mark.parametrize("error", [None, KeyError("from inside")])
def test_at_the_end_nothing_of_it_is_left(tmp_path: Path, error: Exception | None) -> None:
    try:
        with kin(shell(tmp_path, FAMILY), ENV) as process:
            below = family(tmp_path)
            assert os.getsid(process.pid) == process.pid != os.getsid(0)
            if error:
                raise error
    except KeyError:
        assert error
    assert process.returncode == -signal.SIGKILL
    until(lambda: all(gone(pid) for pid in below))


def test_a_program_gets_the_environment_that_is_given_and_its_starter(tmp_path: Path) -> None:
    with kin(
        shell(tmp_path, "env > all; mv all told; sleep 60"), {"A": "b\nc", "PATH": os.defpath}
    ):
        until((tmp_path / "told").is_file)
    told = (tmp_path / "told").read_text()
    assert "A=b\nc\n" in told
    assert f"HARNESS_STARTED_BY={os.getpid()}\n" in told
    assert "HOME=" not in told


def test_what_a_program_leaves_in_its_group_ends_though_it_has_ended_before(
    tmp_path: Path,
) -> None:
    with kin(shell(tmp_path, "sleep 60 & echo $! > child; exit 3"), ENV) as process:
        child = number_in(tmp_path / "child")
        until(lambda: exit_code(process) is not None)
        assert not gone(child)
    assert process.returncode == 3
    until(lambda: gone(child))


@pytest.mark.parametrize(
    ("code", "expected"), [("exit 0", 0), ("exit 7", 7), ("kill -15 $$", -signal.SIGTERM)]
)
def test_the_code_is_told_while_the_id_is_kept(tmp_path: Path, code: str, expected: int) -> None:
    with kin(shell(tmp_path, code), ENV) as process:
        until(lambda: exit_code(process) is not None)
        assert exit_code(process) == expected  # as often as it is asked
        os.kill(process.pid, 0)  # a zombie: nobody else can have this id
    assert process.returncode == expected


def test_a_program_that_runs_has_no_code() -> None:
    with kin(["sleep", "60"], ENV) as process:
        assert exit_code(process) is None


def test_ending_one_that_was_reaped_spares_others() -> None:
    with kin(["sleep", "60"], ENV) as other:
        process = subprocess.Popen(["true"], start_new_session=True)
        process.wait()
        end_group(process)
        assert process.returncode == 0
        assert exit_code(other) is None


PROGRAM = """
import os, subprocess, sys, time
from harness.processes.kin import end_with_starter
end_with_starter()
child = subprocess.Popen(["sleep", "60"])
print(os.getpid(), child.pid, file=open("told.part", "w"), flush=True)
os.rename("told.part", "told")
time.sleep(60)
"""
STARTER = """
import os, sys, time
from harness.processes.kin import kin
with kin([sys.executable, "-c", sys.argv[1]], os.environ):
    time.sleep(60)
"""


def test_a_program_ends_with_its_whole_group_when_its_starter_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", STARTER, PROGRAM]
    starter = subprocess.Popen(argv, env=ENV, cwd=tmp_path)
    try:
        until((tmp_path / "told").is_file)
        pids = [int(word) for word in (tmp_path / "told").read_text().split()]
        assert not any(gone(pid) for pid in pids)
    finally:
        starter.kill()
        starter.wait()
    try:
        until(lambda: all(gone(pid) for pid in pids))
    finally:
        send_group(pids[0], signal.SIGKILL)


def test_a_program_whose_starter_has_died_already_ends_at_once(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    env = {**ENV, "HARNESS_STARTED_BY": str(dead.pid)}
    argv = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(argv, env=env, cwd=tmp_path, start_new_session=True)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "told").exists()


def test_a_forked_worker_that_is_told_to_end_leaves_its_group_alone(tmp_path: Path) -> None:
    """As a pool ends its workers: they have the handler, and are not the leader."""
    program = """
import os, signal, time
from harness.processes.kin import end_with_starter
end_with_starter()
source, sink = os.pipe()
worker = os.fork()
if worker == 0:
    os.write(sink, b"it runs")  # a signal that comes before is lost to Python
    time.sleep(60)
os.read(source, 7)
os.kill(worker, signal.SIGTERM)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
"""
    with kin([sys.executable, "-c", program], ENV) as process:
        until(lambda: exit_code(process) is not None)
        assert exit_code(process) == 128 + signal.SIGTERM


def test_without_a_starter_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_STARTED_BY", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    end_with_starter()
    assert signal.getsignal(signal.SIGTERM) == before
