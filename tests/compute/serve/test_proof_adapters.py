"""Adapters are told apart by their answers alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compute.serve.proof import Adapter, NotYet
from harness.errors import ServerError

from .http_server import Asked, http_server
from .test_proof import choice, proof


def test_an_adapter_that_cannot_be_asked_is_not_waited_for_for_ever() -> None:
    """SGLang refuses an adapter that it has not loaded with 400; a broken one may give 500s."""
    codes = {"lost": 400, "broken": 500}
    beside = {name: [Adapter(name, "/a", f"m:{name}", "x")] for name in codes}

    def rule(asked: Asked) -> tuple[int, Any]:
        name = asked.body["model"].partition(":")[2]
        return (codes[name], b"no such adapter") if name else (200, choice())

    with http_server(rule) as (address, _):
        with pytest.raises(ServerError, match=r"^'m:lost' answers 400: no such adapter$"):
            proof(address, model="m", adapters=beside["lost"]).own_answers()
        checked = proof(address, model="m", adapters=beside["broken"])
        for _ in range(2):
            with pytest.raises(NotYet, match=r"^an answer of 'm:broken' \(answers 500\)$"):
                checked.own_answers()
        with pytest.raises(ServerError, match=r"^'m:broken' answers 500: no such adapter$"):
            checked.own_answers()


def test_each_pair_is_told_apart_unless_its_weights_are_the_same() -> None:
    """Words alone: `one` and `same` answer alike, and are the same; `odd` is not, and does."""
    asked: list[str] = []

    def rule(request: Asked) -> tuple[int, Any]:
        asked.append(request.body["model"])
        alike = request.body["model"] in ("one", "same", "odd")
        return 200, {"choices": [{"message": {"content": "x" if alike else "y"}}]}

    def beside(*rows: tuple[str, str]) -> list[Adapter]:
        return [Adapter(name, "/a", name, identity) for name, identity in rows]

    with http_server(rule) as (address, _):
        same = beside(("one", "1"), ("same", "1"))
        proof(address, model="m", adapters=same).own_answers()
        assert sorted(set(asked)) == ["m", "one", "same"] and len(asked) == 9
        odd = beside(("one", "1"), ("odd", "2"))
        told = pytest.raises(ServerError, match=r"^'odd' answers exactly as 'one' does: ")
        with told:
            proof(address, model="m", adapters=odd).own_answers()
