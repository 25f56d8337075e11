"""An adapter on somebody else's server: asked by the name that it answers to, and told from its base."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compute.serve.external import external_server
from harness.compute.serve.foreign_adapter import asked_as, is_listed
from harness.config.evaluate import ExternalServer
from harness.errors import ServerError

from .http_server import Asked, http_server


def entries(owner: str) -> dict[str, dict[str, Any]]:
    """/v1/models as vLLM 0.32 and SGLang 0.5.23 list a base model with an adapter."""
    return {
        "base": {"id": "base", "owned_by": owner, "parent": None},
        "lora": {"id": "lora", "owned_by": owner, "parent": "base"},
    }


@pytest.mark.parametrize(
    ("owner", "model", "asked", "base"),
    [
        ("vllm", "lora", "lora", "base"),
        ("sglang", "lora", "base:lora", "base"),
        ("sglang", "base:lora", "base:lora", "base"),
        ("sglang", "base", "base", ""),
        ("vllm", "base", "base", ""),
    ],
)
def test_it_is_asked_by_the_name_that_it_answers_to(
    owner: str, model: str, asked: str, base: str
) -> None:
    listed = entries(owner)
    assert is_listed(model, listed)
    assert asked_as(model, listed) == (asked, base)


@pytest.mark.parametrize("model", ["other:lora", "base:other", "lora:base", ""])
def test_what_is_not_listed_is_no_adapter(model: str) -> None:
    assert not is_listed(model, entries("sglang"))


@pytest.mark.parametrize("parent", [None, 5, ["base"], "gone", ""])
def test_an_odd_parent_makes_no_adapter(parent: Any) -> None:
    assert asked_as("m", {"m": {"id": "m", "owned_by": "sglang", "parent": parent}}) == ("m", "")


def serving(owner: str, knows: str) -> Any:
    """As SGLang does: every name is answered, and only `knows` by the adapter."""

    def rule(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/v1/models":
            return 200, {"data": list(entries(owner).values())}
        word = "adapter" if asked.body["model"] == knows else "base"
        return 200, {"choices": [{"message": {"content": word}}]}

    return rule


@pytest.mark.parametrize(
    ("owner", "model", "knows"),
    [
        ("sglang", "lora", "base:lora"),
        ("sglang", "base:lora", "base:lora"),
        ("vllm", "lora", "lora"),
    ],
)
def test_an_adapter_that_answers_itself_is_taken(owner: str, model: str, knows: str) -> None:
    with http_server(serving(owner, knows)) as (address, _):
        assert external_server(ExternalServer(address=address, model=model)).model == knows


def test_an_adapter_that_answers_as_its_base_is_refused() -> None:
    with http_server(serving("vllm", "nobody")) as (address, _):
        told = f"^{address}: 'lora' answers exactly as its base model 'base' does"
        with pytest.raises(ServerError, match=told):
            external_server(ExternalServer(address=address, model="lora"))


def test_an_adapter_that_cannot_be_asked_is_told() -> None:
    def rule(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/v1/models":
            return 200, {"data": list(entries("vllm").values())}
        return (
            (200, {"choices": [{"message": {"content": "x"}}]})
            if (asked.body["model"] == "base")
            else (400, b"no such adapter")
        )

    with (
        http_server(rule) as (address, _),
        pytest.raises(ServerError, match=r"'lora' answers 400: no such adapter$"),
    ):
        external_server(ExternalServer(address=address, model="lora"))
