"""Proof that a server is ready: ours, healthy, of the right model, and answering."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve import ready, serve
from harness.compute.serve.proof import NotYet, Proof
from harness.compute.serve.ready import PortTaken, Probe, wait_until_ready
from harness.config.engines import ENGINES
from harness.errors import ServerError

from .fake_server_request import FAKE, request
from .http_server import Asked, http_server


@pytest.mark.long
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
        ({"root": "/models/checkpoint-1"}, "has loaded '/models/checkpoint-1'"),
        ({"any_name": True}, "answers 200 to a request for another model"),
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


@pytest.mark.long
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


KEY = "it's-a-secret"


class Ours:
    """The server's own process, as a probe sees it."""

    def __init__(self, *pids: int, lives: bool = True) -> None:
        self.pids, self.lives = set(pids), lives

    def tree(self) -> set[int]:
        return self.pids

    def alive(self) -> bool:
        return self.lives


def probe(address: str = "http://127.0.0.1:9/v1", **changes: Any) -> Probe:
    proof = Proof(
        base_url=address, api_key=KEY, kind=ENGINES["vllm"], model="m@abc ü", folder="/m",
        request_s=5.0,
    )  # fmt: skip
    given: dict[str, Any] = {
        "process": Ours(os.getpid()), "port": int(address.split(":")[2].split("/")[0]),
        "proof": proof, "body": {},
    }  # fmt: skip
    return Probe(**given | changes)


def guarded(code: int, body: Any) -> Any:
    """The answer for who has the key; 401 for everybody else."""
    return lambda asked: (code, body) if asked.authorization == f"Bearer {KEY}" else (401, {})


def test_a_port_is_ours_when_our_processes_alone_listen_on_it() -> None:
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{mine.getsockname()[1]}/v1"
        with pytest.raises(NotYet, match=r"^port \d+ to open$"):
            probe(address).listening()
        mine.listen()
        probe(address).listening()
        with pytest.raises(PortTaken, match=rf"is served by another program \{{{os.getpid()}\}}$"):
            probe(address, process=Ours(1)).listening()


def test_health_lies_beside_v1_and_anything_but_200_is_waited_for() -> None:
    codes = [503, 404, 200]
    with http_server(lambda _: (codes.pop(0), {})) as (address, asked):
        for code in (503, 404):
            with pytest.raises(NotYet, match=rf"^/health \(answers {code}\)$"):
                probe(address).healthy()
        probe(address).healthy()
    assert asked == [Asked("/health", None)] * 3


def test_a_completion_is_asked_with_the_runs_own_settings_and_needs_a_choice() -> None:
    whole = {"choices": [{"message": {"content": None}}]}
    with http_server(guarded(200, whole)) as (address, asked):
        probe(address, body={"temperature": 0, "max_tokens": 2}).answers()
    assert (asked[0].path, asked[0].body["model"]) == ("/v1/chat/completions", "m@abc ü")
    assert (asked[0].body["temperature"], asked[0].body["max_tokens"]) == (0, 2)
    for odd in ({"choices": []}, {}, [], b"text"):
        told = pytest.raises(ServerError, match=r"^a chat completion holds no choice: ")
        with http_server(guarded(200, odd)) as (address, _), told:
            probe(address).answers()


def test_server_errors_are_given_patience_and_refusals_none() -> None:
    with http_server(guarded(502, b"warming up")) as (address, _):
        checked = probe(address)
        for _ in range(ready.PATIENCE - 1):
            with pytest.raises(NotYet, match=r"^a chat completion \(answers 502\)$"):
                checked.answers()
        with pytest.raises(ServerError, match=r"^a chat completion answers 502: warming up$"):
            checked.answers()
    told = pytest.raises(ServerError, match=r"^a chat completion answers 422: no such field$")
    with http_server(guarded(422, b"no such field")) as (address, _), told:
        probe(address).answers()


def test_a_check_that_hangs_hides_neither_the_limit_nor_the_death_of_the_server() -> None:
    over = threading.Event()
    for lives, told in ((True, r"not ready after 0.1 s; waited for its port"), (False, "ended")):
        checked = probe(process=Ours(lives=lives))
        checked.listening = lambda: over.wait(20) and None  # type: ignore[method-assign]
        began = time.monotonic()
        with pytest.raises(ServerError, match=told):
            wait_until_ready(checked, 0.1, "vllm")
        assert time.monotonic() - began < 10
    over.set()
