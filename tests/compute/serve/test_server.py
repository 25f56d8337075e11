"""serve() against real processes: a small server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from harness.compute.serve import ServeRequest, ports, ready, serve, watch
from harness.compute.serve.sglang import KEY_VARIABLE
from harness.errors import ServerError
from harness.processes.supervised import SupervisedProcess
from tests.support import ROOT

FAKE = Path(__file__).with_name("fake_server.py")


def request(folder: Path, *, preferred: int | None = None, **options: Any) -> ServeRequest:
    return ServeRequest(
        engine="vllm",
        model="/models/checkpoint-500",
        served_name="run/checkpoint-500@0123abcd",
        preferred_port=preferred,
        ready_timeout_s=20,
        wrap=lambda argv: [sys.executable, str(FAKE), json.dumps(options), *argv],
        log_path=folder / "logs" / "server.log",
    )


def gone(pid: int, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def wait_for(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = dict(SupervisedProcess.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(SupervisedProcess.__init__, "__kwdefaults__", {**defaults, "grace_s": 0.5})


def test_a_ready_server_answers_under_its_name_with_its_key(tmp_path: Path) -> None:
    with serve(request(tmp_path)) as server:
        answer = httpx.post(
            f"{server.base_url}/chat/completions",
            headers={"Authorization": f"Bearer {server.api_key}"},
            json={"model": server.model, "messages": []},
            trust_env=False,
        )
        assert answer.status_code == 200
        assert server.model == "run/checkpoint-500@0123abcd"
        assert server.authenticated
        assert server.alive()
        assert server.start_seconds < 20
        server.raise_if_dead()
        pid = server.pid
    assert gone(pid, 0.1)
    assert not server.alive()
    with pytest.raises(ServerError, match="ended while it was in use"):
        server.raise_if_dead()


def test_the_key_is_in_no_argument_and_not_in_the_log(tmp_path: Path) -> None:
    with serve(request(tmp_path)) as server:
        commands = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended since
                commands.append(" ".join(process.cmdline()))
        assert any("vllm serve" in text for text in commands)
        assert not any(server.api_key in text for text in commands)
        assert server.api_key not in repr(server)
    log = server.log_path.read_text()
    assert "key in the log: ***" in log
    assert server.api_key not in log
    assert stat.S_IMODE(server.log_path.stat().st_mode) == 0o600


def test_sglang_gets_its_key_in_no_argument_and_from_no_file(tmp_path: Path) -> None:
    """Our real launch line, with a module in the place of sglang.launch_server."""
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "launch_server.py").write_text(
        f"import os, runpy, sys; assert '{KEY_VARIABLE}' not in os.environ\n"
        f"sys.argv[1:] = ['{{}}', *sys.argv[1:]]\nrunpy.run_path({str(FAKE)!r}, run_name='__main__')"
    )
    asked = ServeRequest(
        engine="sglang",
        model="/models/checkpoint-500",
        served_name="run/checkpoint-500",
        ready_timeout_s=20,
        wrap=lambda argv: ["env", f"PYTHONPATH={tmp_path}", sys.executable, *argv[1:]],
        log_path=tmp_path / "logs" / "server.log",
    )
    with serve(asked) as server:
        shown = " ".join(psutil.Process(server.pid).cmdline())
        assert "sglang.launch_server" in shown
        assert server.api_key not in shown
        assert [path.name for path in (tmp_path / "logs").iterdir()] == ["server.log"]
        log = server.log_path.read_text()
        assert "key in the log: ***" in log
        assert server.api_key not in log


def test_without_the_key_another_process_gets_401(tmp_path: Path) -> None:
    program = (
        "import httpx, sys; url, key = sys.argv[1], sys.stdin.read()\n"
        "for head in ({}, {'Authorization': 'Bearer guess'}, {'Authorization': f'Bearer {key}'}):\n"
        "    print(httpx.get(f'{url}/models', headers=head, trust_env=False).status_code)"
    )
    with serve(request(tmp_path)) as server:
        other = subprocess.run(
            [sys.executable, "-c", program, server.base_url],
            input=server.api_key, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert other.stdout.split() == ["401", "401", "200"]


def test_eight_tasks_at_once_on_one_node_never_collide(tmp_path: Path) -> None:
    """Eight processes, as the tasks of one array; each server binds HTTP and internal ports."""
    program = """
        import json, os, sys, time
        from pathlib import Path
        from harness.compute.serve import serve
        from tests.compute.serve.test_server import request
        folder = Path(sys.argv[1])
        with serve(request(folder, preferred=int(sys.argv[2]), internal=True)) as server:
            (folder / "url").write_text(server.base_url)
            while len(list(folder.parent.glob("*/url"))) < 8:
                time.sleep(0.1)
    """
    with ports.reserve() as free:
        preferred = str(free.http)
    tasks = []
    for index in range(8):
        folder = tmp_path / str(index)
        folder.mkdir()
        slurm = {"SLURM_JOB_ID": str(900 + index), "SLURM_ARRAY_TASK_ID": str(index)}
        argv = [sys.executable, "-c", textwrap.dedent(program), str(folder), preferred]
        tasks.append(subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **slurm}))
    try:
        assert [task.wait(timeout=120) for task in tasks] == [0] * 8
    finally:
        for task in tasks:
            task.kill()
            task.wait()
    urls = [(tmp_path / str(index) / "url").read_text() for index in range(8)]
    assert len(set(urls)) == 8
    assert sum(f":{preferred}/" in url for url in urls) == 1


def test_each_server_has_a_key_of_its_own_and_ports_of_its_own(tmp_path: Path) -> None:
    with serve(request(tmp_path / "a")) as first, serve(request(tmp_path / "b")) as second:
        assert first.api_key != second.api_key
        assert first.base_url != second.base_url


def test_a_server_that_dies_fails_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    text = "\n".join(f"line {number}" for number in range(100))
    began = time.monotonic()
    with pytest.raises(ServerError) as caught, serve(request(tmp_path, print_and_die=text)):
        pass
    assert time.monotonic() - began < 8
    message = str(caught.value)
    assert "ended before it was ready (exit code 3)" in message
    assert "line 70\n" in message
    assert "line 99" in message
    assert "line 69\n" not in message
    assert str(tmp_path / "logs" / "server.log") in message


def test_a_log_of_an_earlier_try_is_kept_but_not_quoted(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "server.log"
    log.parent.mkdir()
    log.write_text("of yesterday\n")
    with pytest.raises(ServerError) as caught, serve(request(tmp_path, print_and_die="of today")):
        pass
    assert "of today" in str(caught.value)
    assert "of yesterday" not in str(caught.value)
    assert "of yesterday" in log.read_text()


def test_a_command_that_does_not_exist_is_a_server_error(tmp_path: Path) -> None:
    wanted = ServeRequest(
        engine="vllm",
        model="/m",
        served_name="m",
        wrap=lambda argv: ["/nonexistent/python", *argv],
        log_path=tmp_path / "server.log",
    )
    with pytest.raises(ServerError, match=r"cannot be started.*nonexistent"), serve(wanted):
        pass


def test_a_server_that_is_never_ready_is_given_up_and_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "PROGRESS_S", 0.5)
    wanted = request(tmp_path, healthy_after=1000)
    object.__setattr__(wanted, "ready_timeout_s", 3)
    with pytest.raises(ServerError, match="not ready after 3 s; waited for /health"), serve(wanted):
        pass
    assert "of 3 s, waiting for /health (answers 503)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "another"}, r"has the models \['another'\], not 'run/checkpoint-500"),
        ({"open": True}, "answers 200 without its key"),
        ({"completion": 400}, "a chat completion answers 400"),
        ({"completion": 500}, "a chat completion answers 500"),
        ({"die_on_request": True}, r"ended before it was ready \(exit code 7\)(.|\n)*engine core"),
    ],
)
def test_a_healthy_server_is_not_ready_until_it_has_proved_it(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ServerError, match=message), serve(request(tmp_path, **options)):
        pass


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with serve(request(tmp_path, preferred=port)) as server:
            assert f":{port}/" not in server.base_url


def test_a_preferred_port_that_is_free_is_used(tmp_path: Path) -> None:
    with ports.reserve() as free:
        port = free.http
    with serve(request(tmp_path, preferred=port)) as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"


def test_a_bind_failure_of_the_server_is_tried_again_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ports.reserve() as free:
        port = free.http
    with serve(request(tmp_path, preferred=port, taken=port)) as server:
        assert f":{port}/" not in server.base_url
    assert "trying other ports" in capsys.readouterr().out


def test_a_stranger_on_our_port_is_not_taken_for_our_server(tmp_path: Path) -> None:
    """The stranger binds between our probe and our server's own bind."""
    strangers: list[subprocess.Popen[bytes]] = []
    listen = (
        "import socket, sys, time; s = socket.socket(); s.setsockopt(1, 2, 1); "
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); time.sleep(60)"
    )
    base = request(tmp_path)

    def wrap(argv: list[str]) -> list[str]:
        port = argv[argv.index("--port") + 1]
        options = {}
        if not strangers:
            options = {"never_open": True}
            strangers.append(subprocess.Popen([sys.executable, "-c", listen, port]))
        return [sys.executable, str(FAKE), json.dumps(options), *argv]

    object.__setattr__(base, "wrap", wrap)
    try:
        with serve(base) as server:
            pids, _ = ready.listeners(int(server.base_url.split(":")[2].split("/")[0]))
            assert strangers
            assert strangers[0].pid not in pids
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


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
        from tests.compute.serve.test_server import request
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


def test_no_zombie_is_left_to_us(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for _ in range(5):
        with serve(request(tmp_path)):
            pass
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert after <= before
