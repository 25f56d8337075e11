"""Proof that a server has the right model: by its own record, and by its answers.

A name proves little: SGLang answers a request for any model with the model that it has, and takes
an adapter's bare name, which it lists, for its base's. What is proved, beside that the port is ours
(ready.py) and that the server wants the random key that we gave it and no other:

- vLLM: /v1/models lists our name with the very folder (`root`) that it was started on, and each
  adapter with its folder and our model as `parent`; a request for another name gets 404.
- SGLang: /v1/models lists our name, and /model_info names our folder as the one it loaded; each
  adapter is listed as with vLLM. Other names are not refused: nothing is concluded from names.
- transformers: a request for another model is refused with the folder to which it is pinned.

An adapter is told from its base, and from each other adapter, by what it answers: the same short
prompts are asked greedily with log-probabilities, and none of its answers may equal one of theirs.
An answer depends on the prefix cache in its last digits, so each is asked cold and warm. An adapter
whose weights are zero, or equal to another's, answers alike and is right to (runs/models/adapters.py).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import httpx

from harness.config.engines import EngineKind
from harness.errors import ServerError

REQUEST_S = 10.0
PATIENCE = 3
"""Server errors (5xx) that chat completions may give before they count as a failure."""
TOKENS = 16
PROMPTS = (
    "Name the capital of France.",
    "Count from one to ten.",
    "What would you like to talk about today?",
)
"""Asked one after the other until all are told apart."""


class NotYet(Exception):
    """The server is not ready; the text says what is waited for."""


def client(
    api_key: str | None, timeout_s: float = REQUEST_S, proxy: str | None = None
) -> httpx.Client:
    """A client for this node: proxies in the environment must not see, or break, loopback. For a
    server elsewhere `proxy` leads there."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.Client(headers=headers, timeout=timeout_s, proxy=proxy, trust_env=False)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that must be served."""

    name: str
    folder: str
    asked_as: str
    """The `model` of a request that it is to answer."""
    identity: str = ""
    """Of its weights: those with the same answer alike. Empty: it is zero, as if it were not there."""


@dataclass(frozen=True)
class Sample:
    """What one greedy request was answered, as exactly as the server tells."""

    tokens: tuple[str, ...]
    logprobs: tuple[tuple[float, ...], ...] = ()
    """At each token those of the likeliest; empty where the server tells none."""

    def difference(self, other: Sample) -> float:
        """The largest difference of two log-probabilities; infinite where the words differ."""
        ours, theirs = ([len(row) for row in each.logprobs] for each in (self, other))
        if self.tokens != other.tokens or ours != theirs:
            return float("inf")
        rows = zip(self.logprobs, other.logprobs, strict=True)
        pairs = [pair for row, their in rows for pair in zip(row, their, strict=True)]
        return max((abs(a - b) for a, b in pairs), default=0.0)


@dataclass
class Proof:
    """The checks; each returns, or raises NotYet (again later) or ServerError (never)."""

    base_url: str
    api_key: str
    kind: EngineKind
    model: str
    """The `model` of a request."""
    folder: str
    """What the server was started on."""
    adapters: Sequence[Adapter] = ()
    request_s: float = REQUEST_S
    """How long one answer may take."""
    _errors: int = 0

    def right_model(self) -> None:
        """It has our model under our name, and wants our key."""
        if not self.kind.lists_model:
            self._pinned()
            return
        listed = self._models()
        for name in (self.model, *(adapter.name for adapter in self.adapters)):
            if name not in listed:
                raise ServerError(f"the server has the models {list(listed)}, not {name!r}")
        if self.kind.lists_folders:
            self._same_folder("/v1/models", listed[self.model].get("root"), self.folder)
        if self.kind.info_paths:
            self._same_info()
        for adapter in self.adapters:
            entry = listed[adapter.name]
            self._same_folder("/v1/models", entry.get("root", adapter.folder), adapter.folder)
            if entry.get("parent", self.model) != self.model:
                raise ServerError(f"adapter {adapter.name!r} is of {entry['parent']!r} there")
        if self.kind.refuses_other_names:
            self._refuses_others()
        if self.kind.checks_key:
            self._wants_key()

    def own_answers(self) -> None:
        """Each adapter answers otherwise than its base model, and than each other adapter."""
        if not self.adapters:
            return
        identities = {self.model: ""} | {a.asked_as: a.identity for a in self.adapters}
        alike = [
            pair for pair in combinations(identities, 2) if len({identities[n] for n in pair}) > 1
        ]
        for prompt in PROMPTS:
            if alike:
                # What was asked before, in another check or try, must not be cached.
                samples = self._samples(f"{secrets.token_hex(4)}: {prompt}")
                alike = [(a, b) for a, b in alike if not told_apart(samples, a, b, self.model)]
        if alike:
            first, second = alike[0]
            raise ServerError(
                f"{second!r} answers exactly as {first!r} does: the adapter is not applied, or "
                "changes nothing that can be seen"
            )

    def _samples(self, prompt: str) -> dict[str, list[Sample]]:
        """The base first, and again at the end; each adapter twice."""
        base = [self._sample(self.model, prompt) for _ in range(3)]
        found = {a.asked_as: [self._sample(a.asked_as, prompt) for _ in range(2)]
                 for a in self.adapters}  # fmt: skip
        base += [self._sample(self.model, prompt) for _ in range(2)]
        return {self.model: base, **found}

    def _sample(self, model: str, prompt: str) -> Sample:
        with client(self.api_key, self.request_s) as http:
            code, found = sample(http, self.base_url, model, prompt)
        if isinstance(found, Sample):
            return found
        self._errors += code >= 500
        if code >= 500 and self._errors < PATIENCE:
            raise NotYet(f"an answer of {model!r} (answers {code})")
        raise ServerError(f"{model!r} answers {code}: {found[:1000]}")

    def _models(self) -> dict[str, dict[str, Any]]:
        """Every entry of /v1/models by its name."""
        with client(self.api_key) as http:
            answer = expect_200(http, f"{self.base_url}/models", "/v1/models")
        try:
            return {entry["id"]: entry for entry in answer.json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(f"/v1/models is not understood: {answer.text[:500]}") from error

    def _same_info(self) -> None:
        root = self.base_url.removesuffix("/v1")
        with client(self.api_key) as http:
            for path in self.kind.info_paths:
                if http.get(root + path).status_code != 404:
                    told = expect_200(http, root + path, path)
                    break
            else:
                raise ServerError(f"the server tells its model at none of {self.kind.info_paths}")
        try:
            info = dict(told.json())
        except (ValueError, TypeError) as error:
            raise ServerError(f"{path} is not understood: {told.text[:500]}") from error
        self._same_folder(path, info.get("model_path"), self.folder)

    def _same_folder(self, path: str, told: Any, folder: str) -> None:
        if told == folder or (
            isinstance(told, str) and os.path.realpath(told) == os.path.realpath(folder)
        ):
            return
        raise ServerError(f"the server has loaded {told!r} (says {path}), not {folder!r}")

    def _refuses_others(self) -> None:
        code, text = self._asked_for_another()
        if code != 404:
            raise ServerError(f"the server answers {code} to a request for another model: {text}")

    def _pinned(self) -> None:
        """`transformers serve FOLDER` refuses another model and names the folder it has."""
        code, text = self._asked_for_another()
        if code != 400 or f"pinned to '{self.model}'" not in text:
            raise ServerError(f"the server does not have {self.model!r} alone: {text}")

    def _asked_for_another(self) -> tuple[int, str]:
        body = {"model": f"not-{self.model}", "messages": [], "max_tokens": 1}
        with client(self.api_key) as http:
            answer = http.post(f"{self.base_url}/chat/completions", json=body)
        if answer.status_code >= 500:
            raise NotYet(f"/v1/chat/completions (answers {answer.status_code})")
        return answer.status_code, answer.text[:500]

    def _wants_key(self) -> None:
        with client(None) as http:
            refused = http.get(f"{self.base_url}/models").status_code
        if refused not in (401, 403):
            raise ServerError(
                f"the server answers {refused} without its key: the key did not reach it "
                "(does `wrap` clear the environment?)"
            )


def told_apart(samples: Mapping[str, Sequence[Sample]], a: str, b: str, base: str) -> bool:
    """Whether no answer of `a` is one that `b` gives, too.

    `base` tells how well the server repeats itself: where it never does, only a difference counts
    that is twice as large as any between its own answers.
    """
    own = [x.difference(y) for x, y in combinations(samples[base], 2)]
    noise = 2 * max(own, default=0.0) if min(own, default=0.0) > 0 else 0.0
    return all(x.difference(y) > noise for x in samples[a] for y in samples[b])


def sample(http: httpx.Client, base_url: str, model: str, prompt: str) -> tuple[int, Sample | str]:
    """One greedy answer, or the code and text of what came instead.

    Raises ServerError for an answer that holds no choice.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": TOKENS,
        "temperature": 0.0,
    }
    url = f"{base_url}/chat/completions"
    answer = http.post(url, json={**body, "logprobs": True, "top_logprobs": 5})
    if answer.status_code in (400, 422):  # it tells no log-probabilities: words must do
        answer = http.post(url, json=body)
    if answer.status_code != 200:
        return answer.status_code, answer.text
    try:
        choice = answer.json()["choices"][0]
        told = (choice.get("logprobs") or {}).get("content") or []
        rows = tuple(
            (float(t["logprob"]), *(float(o["logprob"]) for o in t.get("top_logprobs") or ()))
            for t in told
        )
        words = tuple(str(t["token"]) for t in told) or (str(choice["message"].get("content")),)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerError(f"{model!r}: an answer without a choice: {answer.text[:1000]}") from error
    return 200, Sample(words, rows)


def expect_200(http: httpx.Client, url: str, name: str) -> httpx.Response:
    """The answer to a GET. Raises NotYet for another code, ServerError for a refused key."""
    answer = http.get(url)
    if answer.status_code in (401, 403):
        raise ServerError(f"{name} refuses our key ({answer.status_code}): it is another server's")
    if answer.status_code != 200:
        raise NotYet(f"{name} (answers {answer.status_code})")
    return answer
