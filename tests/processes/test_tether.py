"""What we ask ends with us, kill -9 included, and is otherwise a program like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import CommandError
from harness.processes.shell import own_module, tethered
from tests.processes.support import gone, number_in, until
from tests.support import ROOT

ASKER = """
import sys
from harness.processes.shell import tethered
tethered(["sh", "-c", sys.argv[1]], timeout=100)
"""
FAMILY = """
trap '' TERM INT HUP
echo $$ > self
sleep 90 & echo $! > child
setsid sh -c 'sleep 90 & echo $! > orphan'
wait
"""
"""Deaf to signals, with a child, and a grandchild in another session whose parent has ended."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_asked_and_all_below_it_end_when_we_die(
    tmp_path: Path, number: signal.Signals
) -> None:
    argv = [sys.executable, "-c", ASKER, FAMILY]
    asker = subprocess.Popen(argv, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        pids = [number_in(tmp_path / name) for name in ("self", "child", "orphan")]
        assert not any(map(gone, pids))
    finally:
        asker.send_signal(number)
        asker.wait()
    until(lambda: all(map(gone, pids)))


def test_one_whose_starter_has_died_already_does_not_begin(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    argv = own_module("harness.processes.tether", str(dead.pid), "touch", "began")
    assert subprocess.run(argv, cwd=tmp_path).returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "began").exists()


def test_it_has_our_input_and_environment_and_its_output_comes_back() -> None:
    assert tethered(["cat"], stdin="é\n") == "é\n"
    assert tethered(["/usr/bin/env"], env={"LC_ALL": "C.UTF-8"}) == "LC_ALL=C.UTF-8\n"
    assert tethered(["printf", "[%s]", "a  b"]) == "[a  b]"


@pytest.mark.parametrize(
    ("code", "told"),
    [("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15), ("kill -10 $$", -10)],
)
def test_its_end_is_its_own(code: str, told: int) -> None:
    with pytest.raises(CommandError) as caught:
        tethered(["sh", "-c", f"echo out; echo err >&2; {code}"])
    error = caught.value
    assert (error.argv[0], error.code, error.stdout, error.stderr) == ("sh", told, "out\n", "err\n")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [("no-such-program", 127, "no such program"), ("/etc", 126, "Permission denied")],
)
def test_what_cannot_be_started_says_so(program: str, code: int, said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        tethered([program, "x"])
    assert (caught.value.code, caught.value.argv) == (code, [program, "x"])


def test_one_that_hangs_is_ended_with_all_below_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="timed out"):
        tethered(["sh", "-c", f"cd {tmp_path}\n{FAMILY}"], timeout=1)
    pids = [number_in(tmp_path / name) for name in ("self", "child", "orphan")]
    until(lambda: all(map(gone, pids)))
