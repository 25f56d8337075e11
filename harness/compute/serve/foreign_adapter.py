"""A LoRA adapter on a server that somebody else runs: how it is asked, and that it answers itself.

vLLM and SGLang list an adapter with its base as `parent`. SGLang answers its bare name with the base
model's answers, and itself only to `BASE:adapter` (see sglang.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import httpx

from harness.compute.serve.proof import PROMPTS, Sample, client, sample, told_apart
from harness.errors import ServerError
from harness.processes.proxies import proxy_for

_ANSWER_S = 120.0
Entries = Mapping[str, Mapping[str, Any]]
"""/v1/models by name."""


def is_listed(model: str, entries: Entries) -> bool:
    """Whether a model is on the list, by its name or as `BASE:adapter`."""
    return model in entries or _named_whole(model, entries) is not None


def asked_as(model: str, entries: Entries) -> tuple[str, str]:
    """The `model` of a request to a listed model, and its base where it is an adapter, else empty."""
    name = _named_whole(model, entries) or model
    entry = entries[name]
    base = entry.get("parent")
    if not isinstance(base, str) or base not in entries:
        return model, ""
    return (f"{base}:{name}" if entry.get("owned_by") == "sglang" else model), base


def _named_whole(model: str, entries: Entries) -> str | None:
    """The adapter that `BASE:adapter` names."""
    return next((n for n, e in entries.items() if model == f"{e.get('parent')}:{n}"), None)


def prove(address: str, key: str, adapter: str, base: str) -> None:
    """Raise ServerError unless an adapter answers otherwise than its base."""
    for prompt in PROMPTS:
        text = f"{secrets.token_hex(4)}: {prompt}"
        answers: dict[str, list[Sample]] = {base: [], adapter: []}
        for model in (base, base, base, adapter, adapter, base, base):
            answers[model].append(_sample(address, key, model, text))
        if told_apart(answers, base, adapter, base):
            return
    raise ServerError(
        f"{address}: {adapter!r} answers exactly as its base model {base!r} does: the adapter is "
        "not applied, or changes nothing that can be seen"
    )


def _sample(address: str, key: str, model: str, prompt: str) -> Sample:
    try:
        with client(key, _ANSWER_S, proxy_for(address)) as http:
            code, found = sample(http, address, model, prompt)
    except httpx.HTTPError as error:
        raise ServerError(f"{address}: {model!r}: {error or type(error).__name__}") from None
    if isinstance(found, str):
        raise ServerError(f"{address}: {model!r} answers {code}: {found[:500]}")
    return found
