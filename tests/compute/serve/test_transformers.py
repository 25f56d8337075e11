"""The real `transformers serve` on CPU through serve(), with a tiny checkpoint."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from harness.compute.serve import RunningServer, ServeRequest, serve
from harness.errors import ServerError
from tests.tiny_model import make_tiny_model

PROGRAM = Path(sys.executable).with_name("transformers")
NEEDED = ("torch", "transformers", "uvicorn", "fastapi")
INSTALLED = pytest.mark.skipif(
    not PROGRAM.exists() or any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="transformers[serving] is not installed beside this Python",
)
pytestmark = INSTALLED


def request(folder: Path, model: Path) -> ServeRequest:
    template = folder / "template.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return ServeRequest(
        engine="transformers",
        model=str(model),
        served_name="unused by this engine",
        dtype="float32",
        chat_template=str(template),
        extra_flags={"device": "cpu"},
        ready_timeout_s=200,
        wrap=lambda argv: [str(PROGRAM), *argv[1:]],
        log_path=folder / "server.log",
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("serve")
    with serve(request(folder, make_tiny_model(folder / "checkpoint-5"))) as running:
        yield running
        process = psutil.Process(running.pid)
    assert not process.is_running()


def ask(server: RunningServer, model: str) -> httpx.Response:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "two and three"}],
        "max_tokens": 4,
        "temperature": 0.0,
    }
    return httpx.post(
        f"{server.base_url}/chat/completions", json=body, timeout=120, trust_env=False
    )


@pytest.mark.long
def test_it_answers_with_the_given_chat_template(server: RunningServer) -> None:
    answer = ask(server, server.model)
    assert answer.status_code == 200, answer.text
    assert 1 <= answer.json()["usage"]["completion_tokens"] <= 4
    # The checkpoint has no template of its own: without the given one this would be an error.
    assert not (Path(server.model) / "chat_template.jinja").exists()


@pytest.mark.long
def test_it_serves_no_other_model(server: RunningServer) -> None:
    answer = ask(server, "another/model")
    assert answer.status_code == 400
    assert "pinned to" in answer.text


def test_it_says_that_it_checks_no_key(server: RunningServer) -> None:
    assert not server.authenticated
    assert server.base_url.startswith("http://127.0.0.1:")


@pytest.mark.long
def test_a_folder_without_a_model_fails_with_the_reason(tmp_path: Path) -> None:
    empty = tmp_path / "checkpoint-9"
    empty.mkdir()
    with (
        pytest.raises(ServerError, match=r"ended before it was ready"),
        serve(request(tmp_path, empty)),
    ):
        pass
