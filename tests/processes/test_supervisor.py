"""The process between a job and its server: its log without secrets, and whom it ends when."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.processes.shell import own_module
from harness.processes.supervisor import Log, prctl
from harness.processes.tree import send
from tests.processes.support import gone, number_in, until

SECRET = "a-key-that-nobody-may-read"


class Piped:
    """A log with the writing end of what it copies."""

    def __init__(self, path: Path, secrets: list[str]) -> None:
        source, self.sink = os.pipe()
        self.path, self.log = path, Log(str(path), source, secrets)

    def after(self, *pieces: bytes) -> bytes:
        """What the file holds after these were written one by one."""
        for piece in pieces:
            while piece:  # no more at once than the pipe takes
                piece = piece[os.write(self.sink, piece[: 1 << 16]) :]
                self.log.pump()
        return self.path.read_bytes()

    def close(self) -> bytes:
        os.close(self.sink)
        self.log.pump()
        return self.path.read_bytes()


@pytest.fixture
def piped(tmp_path: Path) -> Piped:
    return Piped(tmp_path / "a log", [SECRET, "", "other"])


def test_the_log_is_the_owners_and_what_was_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("of yesterday\n")
    assert Piped(tmp_path / "kept", []).after(b"x\n") == b"of yesterday\nx\n"
    Piped(tmp_path / "new", [])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_secret_that_comes_in_two_pieces_is_blanked(piped: Piped) -> None:
    start, rest = SECRET[:7].encode(), SECRET[7:].encode()
    assert piped.after(b"one\nkey: " + start) == b"one\n"
    assert piped.after(rest + b", other, ") == b"one\n"
    assert piped.after(SECRET.encode() + b"!\n") == b"one\nkey: ***, ***, ***!\n"


def test_a_bar_of_progress_shows_without_a_line_end(piped: Piped) -> None:
    assert piped.after(b"10 %\r20 %\r30") == b"10 %\r20 %\r"


def test_the_last_line_is_written_when_the_output_ends(piped: Piped) -> None:
    assert piped.after(b"one\ntwo " + SECRET.encode()) == b"one\n"
    assert piped.close() == b"one\ntwo ***"
    assert piped.log.source is None
    piped.log.pump()  # again, with nothing to read from
    assert piped.path.read_bytes() == b"one\ntwo ***"


def test_bytes_that_are_no_text_are_copied_as_they_are(piped: Piped) -> None:
    assert piped.after(b"\xff\x00\xe9\n") == b"\xff\x00\xe9\n"


def test_a_line_without_end_does_not_fill_the_memory(piped: Piped) -> None:
    long = b"x" * ((1 << 20) + 1)
    assert len(piped.after(long[:-1])) == 0
    assert piped.after(b"x") == long
    assert piped.log.kept == b""


def test_a_disk_that_is_full_does_not_stop_the_supervision(piped: Piped) -> None:
    os.close(piped.log.file)
    piped.log.file = os.open("/dev/full", os.O_WRONLY)
    piped.after(b"lost\n")
    assert piped.log.kept == b""


def test_an_unknown_option_of_the_system_is_an_error() -> None:
    with pytest.raises(OSError, match=r"prctl\(-1, 0\)"):
        prctl(-1, 0)


class Supervised:
    """main() in a process of its own, with an order."""

    def __init__(self, folder: Path, argv: list[str], grace_s: float) -> None:
        self.log = folder / "log"
        self.process = subprocess.Popen(
            own_module("harness.processes.supervisor", isolated=True),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
        order = {"argv": argv, "log": str(self.log), "secrets": [SECRET], "grace_s": grace_s}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        assert self.process.stdout
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def end(self) -> None:
        """Close the lifeline and read what is left; the process has ended then."""
        self.rest, self.errors = self.process.communicate(timeout=60)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(code: str, grace_s: float = 20.0) -> Supervised:
        started.append(Supervised(tmp_path, ["sh", "-c", code], grace_s))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            send(
                [p.pid for p in psutil.Process(each.process.pid).children(recursive=True)],
                signal.SIGKILL,
            )
            each.process.kill()
            each.process.communicate()


def test_a_server_that_ends_is_told_with_its_code_and_its_output_is_in_the_log(
    supervised: Callable[..., Supervised],
) -> None:
    found = supervised(f"echo 'out {SECRET}'; printf err >&2; cat; exit 7")
    assert found.told().keys() == {"pid"}
    assert found.told() == {"code": 7, "left": []}
    assert found.process.wait(timeout=60) == 0
    assert found.log.read_text() == "out ***\nerr"


def test_a_server_that_is_killed_has_the_signal_as_its_code(
    supervised: Callable[..., Supervised],
) -> None:
    found = supervised("exec sleep 60")
    os.kill(found.told()["pid"], signal.SIGKILL)
    assert found.told() == {"code": -signal.SIGKILL, "left": []}


def test_when_the_lifeline_is_cut_all_is_ended_daemons_too(
    supervised: Callable[..., Supervised], tmp_path: Path
) -> None:
    code = "setsid sh -c 'sleep 60 & echo $! > daemon' & wait $!; exec sleep 60"
    found = supervised(code)
    server = found.told()["pid"]
    daemon = number_in(tmp_path / "daemon")
    assert not gone(server) and not gone(daemon)
    found.end()
    assert (found.process.returncode, found.errors) == (0, b"")
    assert json.loads(found.rest) == {"code": -signal.SIGTERM, "left": []}
    assert gone(server) and gone(daemon)


def test_who_is_deaf_is_killed_after_the_grace(supervised: Callable[..., Supervised]) -> None:
    found = supervised("trap '' TERM; echo ready; while :; do sleep 0.05; done", grace_s=0.1)
    found.told()
    until(lambda: found.log.is_file() and found.log.read_text() == "ready\n")
    began = time.monotonic()
    found.end()
    assert time.monotonic() - began < 10
    assert json.loads(found.rest) == {"code": -signal.SIGKILL, "left": []}


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT])
def test_a_warning_to_all_of_the_job_ends_neither(
    supervised: Callable[..., Supervised], number: signal.Signals
) -> None:
    found = supervised("sleep 0.2; exit 5")
    server = found.told()["pid"]
    send([found.process.pid, server], number)
    assert found.told() == {"code": 5, "left": []}


def test_term_to_the_supervisor_ends_the_server_first(
    supervised: Callable[..., Supervised],
) -> None:
    found = supervised("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    found.told()
    until(lambda: found.log.is_file() and found.log.read_text() == "ready\n")
    found.process.terminate()
    assert found.told() == {"code": 3, "left": []}
    assert found.log.read_text().endswith("bye\n")


def test_a_server_does_not_survive_a_supervisor_that_is_killed(
    supervised: Callable[..., Supervised],
) -> None:
    found = supervised("exec sleep 60")
    server = found.told()["pid"]
    found.process.kill()
    until(lambda: gone(server))


def test_a_command_that_cannot_be_executed_is_told_and_is_no_traceback(tmp_path: Path) -> None:
    found = Supervised(tmp_path, ["/no such/program"], 1.0)
    assert "/no such/program" in found.told()["error"]
    found.end()
    assert (found.process.returncode, found.rest, found.errors) == (1, b"", b"")
