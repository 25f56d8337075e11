"""No process outlives whoever started it, whichever of them is killed and however.

The process is a small server (tests/compute/serve/fake_server.py) that leaves a daemon behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from harness.compute.serve import serve
from harness.errors import ServerError
from harness.processes.supervised import SupervisedProcess
from tests.compute.serve.fake_server_request import gone, request, wait_for
from tests.support import ROOT

pytestmark = pytest.mark.long


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = dict(SupervisedProcess.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(SupervisedProcess.__init__, "__kwdefaults__", {**defaults, "grace_s": 0.5})


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("with_error", [False, True])
def test_leaving_the_context_ends_daemons_that_forked_twice_and_ignore_term(
    tmp_path: Path, with_error: bool
) -> None:
    note = tmp_path / "daemon.pid"
    try:
        with serve(request(tmp_path, daemon=str(note))) as server:
            daemon = int(note.read_text())
            assert psutil.pid_exists(daemon)
            if with_error:
                raise KeyError("from inside")
    except KeyError:
        assert with_error
    assert gone(daemon, 0.1)
    assert gone(server.pid, 0.1)


@pytest.mark.usefixtures("short_grace")
def test_a_server_that_dies_takes_its_daemons_along(tmp_path: Path) -> None:
    note = tmp_path / "daemon.pid"
    with serve(request(tmp_path, daemon=str(note))) as server:
        daemon = int(note.read_text())
        os.kill(server.pid, signal.SIGKILL)
        assert gone(daemon)
        wait_for(lambda: not server.alive())
        with pytest.raises(ServerError, match="ended while it was in use"):
            server.raise_if_dead()


def test_killing_the_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    note = tmp_path / "daemon.pid"
    with serve(request(tmp_path, daemon=str(note))) as server:
        daemon = int(note.read_text())
        os.kill(psutil.Process(server.pid).ppid(), signal.SIGKILL)
        wait_for(lambda: not server.alive())
        assert gone(server.pid)
    assert gone(daemon, 0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("forked", [False, True])
def test_nothing_remains_when_our_own_process_is_killed(
    tmp_path: Path, number: signal.Signals, forked: bool
) -> None:
    """`forked`: a child of ours that was forked without exec holds a copy of the lifeline."""
    note, facts = tmp_path / "daemon.pid", tmp_path / "facts"
    program = f"""
        import functools, json, os, sys, time
        from pathlib import Path
        from harness.processes import supervised as process
        from harness.compute.serve import serve
        from tests.compute.serve.fake_server_request import request
        process.SupervisedProcess.__init__.__kwdefaults__["grace_s"] = 0.5
        with serve(request(Path({str(tmp_path)!r}), daemon={str(note)!r})) as server:
            child = os.fork() if {forked} else 0
            if {forked} and child == 0:
                time.sleep(60)
            Path({str(facts)!r} + ".part").write_text(json.dumps([server.pid, child]))
            os.replace({str(facts)!r} + ".part", {str(facts)!r})
            time.sleep(60)
    """
    ours = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT)
    child = 0
    try:
        wait_for(facts.exists)
        server, child = json.loads(facts.read_text())
        daemon = int(note.read_text())
        supervisor = psutil.Process(server).ppid()
        assert all(psutil.pid_exists(pid) for pid in (server, daemon, supervisor))
        ours.send_signal(number)
        ours.wait()
        assert gone(server)
        assert gone(daemon)
        assert gone(supervisor)
    finally:
        ours.kill()
        ours.wait()
        if child:
            os.kill(child, signal.SIGKILL)


def test_slurms_warning_signal_does_not_end_the_server(tmp_path: Path) -> None:
    with serve(request(tmp_path)) as server:
        for pid in (server.pid, psutil.Process(server.pid).ppid()):
            os.kill(pid, signal.SIGUSR2)
            os.kill(pid, signal.SIGUSR1)
        time.sleep(0.5)
        assert server.alive()


def test_no_zombie_is_left_to_us(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for _ in range(5):
        with serve(request(tmp_path)):
            pass
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert after <= before
