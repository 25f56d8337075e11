"""A server that somebody else runs: nothing to start, nothing to stop, only to ask.

Its models are taken by its own list. A LoRA adapter in it (vLLM and SGLang name its `parent`) is
asked as that engine wants it, and must answer otherwise than its base model: SGLang answers the bare
name, which it lists, with the base model's own answers.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from harness.compute.serve.proof import PROMPTS, Sample, client, sample, told_apart
from harness.config.evaluate import ExternalServer
from harness.errors import ServerError

_ASK_S = 10.0
_ANSWER_S = 120.0


@dataclass
class ForeignServer:
    """What evaluators use of a `RunningServer`, for one that is not ours."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    log_path: Path = Path("/dev/null")

    def take_start_seconds(self) -> float:
        """Nothing was started."""
        return 0.0

    def raise_if_dead(self) -> None:
        """Its process cannot be seen from here: requests tell."""

    def raise_if_sick(self) -> None:
        """Raise ServerError when it does not list its models."""
        check_address(self.base_url, self.api_key, self.model)


def external_server(spec: ExternalServer) -> ForeignServer:
    """The server that a spec names, proved to answer and to have the model. Raises ServerError."""
    key = os.environ.get(spec.api_key_env, "") if spec.api_key_env else "none"
    if not key:
        raise ServerError(f"${spec.api_key_env} is not set here, and the server's key is in it")
    asked_as, base = check_address(spec.address, key, spec.model)
    if base:
        _prove_adapter(spec.address, key, asked_as, base)
    return ForeignServer(spec.address, key, asked_as)


def check_address(address: str, key: str, model: str) -> tuple[str, str]:
    """The `model` of a request for a model there, and of one for its base, where it is an adapter.

    Raises ServerError unless `/models` there lists the model; `BASE:adapter` is listed where both are.
    """
    listed = _models(address, key)
    if model in listed:
        entry = listed[model]
        base = entry.get("parent")
        if not isinstance(base, str) or base not in listed:
            return model, ""
        colon = entry.get("owned_by") == "sglang"
        return (f"{base}:{model}" if colon else model), base
    for name, entry in listed.items():
        if model == f"{entry.get('parent')}:{name}":
            return model, str(entry["parent"])
    raise ServerError(f"{address} does not serve {model!r}; it serves {', '.join(listed)}")


def _models(address: str, key: str) -> dict[str, dict[str, Any]]:
    try:
        with client(key, _ASK_S) as http:
            answer = http.get(f"{address}/models")
        answer.raise_for_status()
        return {str(entry["id"]): dict(entry) for entry in answer.json()["data"]}
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        why = "it refuses the key" if code in (401, 403) else f"it answers {code}"
        raise ServerError(f"{address}/models: {why}") from None
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ServerError(f"{address}/models: {error or type(error).__name__}") from None


def _prove_adapter(address: str, key: str, adapter: str, base: str) -> None:
    """Raise ServerError unless an adapter answers otherwise than its base."""
    for prompt in PROMPTS:
        text = f"{secrets.token_hex(4)}: {prompt}"
        asked = [base, base, base, adapter, adapter, base, base]
        answers: dict[str, list[Sample]] = {base: [], adapter: []}
        for model in asked:
            answers[model].append(_sample(address, key, model, text))
        if told_apart(answers, base, adapter, base):
            return
    raise ServerError(
        f"{address}: {adapter!r} answers exactly as its base model {base!r} does: the adapter is "
        "not applied, or changes nothing that can be seen"
    )


def _sample(address: str, key: str, model: str, prompt: str) -> Sample:
    try:
        with client(key, _ANSWER_S) as http:
            code, found = sample(http, address, model, prompt)
    except httpx.HTTPError as error:
        raise ServerError(f"{address}: {model!r}: {error or type(error).__name__}") from None
    if isinstance(found, str):
        raise ServerError(f"{address}: {model!r} answers {code}: {found[:500]}")
    return found
