"""The model before training: a whole folder, a snapshot in the cache, or an id of the Hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.preflight.findings import Finding
from harness.preflight.training.model import check_model
from tests.preflight.support import model


def test_a_hub_id_that_cannot_be_had_is_refused_before_queueing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (found,) = check_model("Qwen/Qwen3-1.7B-Base")
    assert found.level == "error"
    assert "cannot be reached" in found.message
    assert "hf download" in found.cure
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in check_model("Qwen/Qwen3-1.7B-Base")[0].message


def test_a_cached_hub_id_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    snapshot = tmp_path / "hub/models--Qwen--Q/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert check_model("Qwen/Q") == []


def test_a_model_folder_must_hold_config_weights_and_tokenizer(tmp_path: Path) -> None:
    assert len(check_model(str(tmp_path))) == 3
    assert "no such folder" in check_model(str(tmp_path / "absent"))[0].message


def test_each_part_that_is_missing_from_a_folder_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path / "a model é")
    assert check_model(str(folder)) == []
    (folder / "config.json").unlink()
    (found,) = check_model(str(folder))
    assert (found.level, found.place) == ("error", "train.model_name")
    assert found.message == f"{folder}: no config.json in it"
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").unlink()
    (found,) = check_model(str(folder))
    assert "no tokenizer (tokenizer_config.json)" in found.message


@pytest.mark.parametrize("name", ["./absent", "~/absent", "/no/such", "a b/c", "a/b/c", "-x"])
def test_what_can_be_no_id_of_the_hub_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (found,) = check_model(name)
    assert found.message == f"{name}: no such folder, and no id on the Hub"


class Hub(HTTPServer):
    """Answers every question with a status that a test sets, and keeps what it was asked."""

    status = 200
    asked: list[tuple[str, str, str | None]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            server.asked.append((self.command, self.path, self.headers.get("Authorization")))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = Hub(("127.0.0.1", 0), Handler)
    server.asked = []
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield server
    server.shutdown()
    server.server_close()


def only(name: str) -> Finding:
    (found,) = check_model(name)
    assert found.place == "train.model_name"
    return found


def test_a_model_that_the_hub_has_is_noted_as_a_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = only("Qwen/Qwen3-1.7B-Base")
    assert (found.level, "the training job downloads it" in found.message) == ("note", True)
    path = "/Qwen/Qwen3-1.7B-Base/resolve/main/config.json"
    assert hub.asked == [("HEAD", path, None)]
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in str(only("gpt2"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}/")
    assert only("gpt2").level == "note"
    assert hub.asked[-1] == ("HEAD", "/gpt2/resolve/main/config.json", "Bearer hf_secret")


@pytest.mark.parametrize(
    ("status", "words", "cure"),
    [
        (401, "the Hub answers 401: gated, private or no such model", "export HF_TOKEN"),
        (403, "the Hub answers 403: gated, private or no such model", "export HF_TOKEN"),
        (404, "the Hub answers 404", "Check the id"),
        (500, "the Hub answers 500", "Check the id"),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_an_error(
    hub: Hub, status: int, words: str, cure: str
) -> None:
    hub.status = status
    found = only("no-such/model")
    assert found.level == "error"
    assert found.message.startswith("no-such/model: ") and words in found.message
    assert cure in found.cure


@pytest.mark.parametrize("word", ["1", "true", "YES", "on"])
def test_offline_the_hub_is_not_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    found = only("Qwen/Q")
    assert found.level == "error" and "HF_HUB_OFFLINE is set" in found.message
    assert "hf download Qwen/Q --local-dir FOLDER" in found.cure
    assert hub.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert only("Qwen/Q").level == "note"


def test_a_folder_of_that_name_comes_before_the_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "Qwen" / "Q")
    assert check_model("Qwen/Q") == []
    assert hub.asked == []


@pytest.mark.parametrize("endpoint", ["no-scheme", "http://[", "http://h:port"])
def test_an_address_that_is_none_is_a_hub_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert "the Hub cannot be reached" in only("gpt2").message
