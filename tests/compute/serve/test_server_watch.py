"""A server that dies, hangs or falls ill while it is in use: noticed, told once, ended whole."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from harness.compute.serve import serve, watch
from harness.errors import ServerError

from .fake_server_request import gone, request

pytestmark = pytest.mark.long


def test_the_watch_reports_a_death_once(tmp_path: Path) -> None:
    failures: list[ServerError] = []
    seen = threading.Event()

    def note(error: ServerError) -> None:
        failures.append(error)
        seen.set()

    with serve(request(tmp_path)) as server, watch(server, note, interval_s=0.1):
        time.sleep(0.5)
        assert not failures
        os.kill(server.pid, signal.SIGKILL)
        assert seen.wait(10)
        time.sleep(0.5)
    assert len(failures) == 1
    assert "ended while it was in use" in str(failures[0])


def test_the_watch_gives_up_a_server_that_hangs(tmp_path: Path) -> None:
    seen = threading.Event()
    hang = tmp_path / "hang"
    wanted = request(tmp_path, hang_file=str(hang))
    with (
        serve(wanted) as server,
        watch(server, lambda error: seen.set(), interval_s=0.1, hang_s=1.0),
    ):
        hang.touch()
        assert seen.wait(10)
        assert server.alive()
        with pytest.raises(ServerError, match="/health has not answered"):
            server.raise_if_dead()
        hang.unlink()


def test_a_stopped_server_is_noticed_in_time_and_killed_with_its_children(tmp_path: Path) -> None:
    seen, note = threading.Event(), tmp_path / "daemon.pid"
    with (
        serve(request(tmp_path, daemon=str(note))) as server,
        watch(server, lambda error: seen.set(), interval_s=0.5, hang_s=3.0),
    ):
        process = psutil.Process(server.pid)
        for each in (process, *process.children(recursive=True)):
            each.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        assert seen.wait(10)
        assert time.monotonic() - stopped <= 3.5
        with pytest.raises(ServerError, match="/health has not answered for 3 s"):
            server.raise_if_dead()
        object.__setattr__(server._process, "grace_s", 0.5)
    assert gone(server.pid, 0.1)
    assert gone(int(note.read_text()), 0.1)


def test_failed_requests_of_a_sick_server_are_the_servers(tmp_path: Path) -> None:
    hang = tmp_path / "sick"
    with serve(request(tmp_path, sick_file=str(hang))) as server:
        server.raise_if_sick()
        hang.touch()
        with pytest.raises(ServerError, match="requests fail and /health answers 503"):
            server.raise_if_sick()
