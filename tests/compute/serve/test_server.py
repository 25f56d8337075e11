"""serve() against real processes: a small server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from harness.compute.serve import ServeRequest, ports, serve
from harness.compute.serve.sglang import KEY_VARIABLE
from harness.errors import ServerError
from tests.support import ROOT

from .fake_server_request import FAKE, gone, request

pytestmark = pytest.mark.long


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
        from tests.compute.serve.fake_server_request import request
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


def test_an_engine_that_is_not_in_its_environment_is_told_with_the_extra(tmp_path: Path) -> None:
    wanted = replace(
        request(tmp_path), engine="transformers", wrap=lambda argv: ["env", "no-such-program"]
    )
    with pytest.raises(ServerError, match="no-such-program") as caught, serve(wanted):
        pass
    assert "pip install 'posttrain-harness[serve]'" in str(caught.value)
    assert "environments.transformers" in str(caught.value)
