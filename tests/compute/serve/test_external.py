"""A server that somebody else runs: asked for its models first, and believed only then."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from typing import Any

import pytest

from harness.compute.serve.external import ForeignServer, check_address, external_server
from harness.config.evaluate import ExternalServer
from harness.errors import ServerError

from .http_server import Asked, http_server

KEY = "it's-a-secret"


def answering(code: int, body: Any) -> AbstractContextManager[tuple[str, list[Asked]]]:
    """A server that gives everybody this answer."""
    return http_server(lambda _: (code, body))


MODELS = {"data": [{"id": "other"}, {"id": "a/b@c ü"}]}


def test_it_is_asked_once_with_its_key_and_then_known_by_its_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nothing of ours goes there
    with answering(200, MODELS) as (address, asked):
        spec = ExternalServer(address=address, model="a/b@c ü", api_key_env="OUR_KEY")
        server = external_server(spec)
    assert asked == [Asked("/v1/models", f"Bearer {KEY}")]
    assert (server.base_url, server.api_key, server.model) == (address, KEY, "a/b@c ü")
    assert KEY not in repr(server)
    assert server.take_start_seconds() == 0.0
    server.raise_if_dead()  # nothing of it can be seen from here
    with pytest.raises(ServerError, match=f"^{address}/models: "):
        server.raise_if_sick()


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_key_is_told_by_its_variable_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OUR_KEY", value)
    with answering(200, MODELS) as (address, asked):
        spec = ExternalServer(address=address, model="other", api_key_env="OUR_KEY")
        with pytest.raises(ServerError) as caught:
            external_server(spec)
    assert str(caught.value) == "$OUR_KEY is not set here, and the server's key is in it"
    assert asked == []


def test_a_server_without_a_key_is_asked_with_none_of_ours() -> None:
    with answering(200, MODELS) as (address, asked):
        external_server(ExternalServer(address=address, model="other"))
    assert asked == [Asked("/v1/models", "Bearer none")]


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (401, {}, "it refuses the key"),
        (403, {}, "it refuses the key"),
        (404, {}, "it answers 404"),
        (500, b"trace", "it answers 500"),
        (200, b"<html>", "its answer is no list of models: <html>"),
        (200, {"models": []}, 'its answer is no list of models: {"models": []}'),
        (200, {"data": [{"name": "x"}]}, "its answer is no list of models: "),
        (200, {"data": None}, "its answer is no list of models: "),
        (200, [], "its answer is no list of models: []"),
        (200, b"[" * 100_000, "its answer is no list of models: "),
    ],
)
def test_what_is_no_list_of_models_is_told_with_the_address(
    code: int, body: Any, told: str
) -> None:
    with answering(code, body) as (address, _), pytest.raises(ServerError) as caught:
        check_address(address, KEY, "m")
    assert str(caught.value).startswith(f"{address}/models: {told}")
    assert KEY not in str(caught.value)


def test_a_model_that_it_does_not_have_is_told_with_those_that_it_has() -> None:
    with answering(200, MODELS) as (address, _), pytest.raises(ServerError) as caught:
        check_address(address, KEY, "a/b")
    assert str(caught.value) == f"{address} does not serve 'a/b'; it serves other, a/b@c ü"


def test_nobody_there_is_told_with_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ServerError, match=f"^{address}/models: .*refused"):
            ForeignServer(address, KEY, "m").raise_if_sick()


@pytest.mark.parametrize("address", ["http://h:99999/v1", "http://[::1/v1", "http://h\n/v1"])
def test_an_address_that_is_none_is_told_and_no_traceback(address: str) -> None:
    with pytest.raises(ServerError, match="/models: "):
        check_address(address, KEY, "m")


def test_a_key_that_no_header_takes_is_told_without_it() -> None:
    with answering(200, MODELS) as (address, _), pytest.raises(ServerError) as caught:
        check_address(address, "geheim\u20ac", "other")
    assert "characters that no header takes" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_server_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, MODELS) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "other.invalid")
        check_address("http://model.invalid/v1", KEY, "other")
        assert len(asked) == 1
        with pytest.raises(ServerError):
            check_address("http://other.invalid/v1", KEY, "other")
        assert len(asked) == 1
