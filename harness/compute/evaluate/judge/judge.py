"""Who judges: an endpoint somewhere, or a model that this task serves once it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from harness.benchmarks.registry import Benchmark
from harness.compute.evaluate.judge.ask import Endpoint
from harness.compute.serve.server import RunningServer, watch
from harness.config.judge import JudgeSpec
from harness.errors import EvaluationError

NO_KEY = "none"
"""Sent where the endpoint needs no key; the client insists on one."""


@dataclass
class Judge:
    """The judge of a task's cells; `with` it, so that a server it started stops."""

    spec: JudgeSpec
    served_as: str = ""
    """Name and fingerprint of the judge's model, where it is served here."""
    serve: Callable[[], AbstractContextManager[RunningServer]] | None = None
    _running: ExitStack = field(default_factory=ExitStack)
    _endpoint: Endpoint | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()
        self._endpoint = None

    def model(self, benchmark: Benchmark) -> str:
        """Whom the judgements are by."""
        return self.served_as or self.spec.model or benchmark.judge_model

    def request(self, benchmark: Benchmark) -> dict[str, Any]:
        """Settings of each request, as the OpenAI client takes them."""
        spec, extra = self.spec, dict(self.spec.body)
        request: dict[str, Any] = {"extra_body": extra}
        if spec.temperature is not None:
            request["temperature"] = spec.temperature
        if "max_completion_tokens" not in extra:
            request["max_tokens"] = spec.max_tokens or benchmark.judge_max_tokens
        return request

    def facts(self, benchmark: Benchmark) -> dict[str, Any]:
        """What a judgement depends on beside its prompt; the address is told, too."""
        where = {} if self.served_as else {"base_url": self.spec.base_url}
        return {"model": self.model(benchmark), **where, **self.request(benchmark)}

    def endpoint(self, benchmark: Benchmark) -> Endpoint:
        """Where to ask; starts the judge's server the first time.

        Raises EvaluationError when the key is not in the environment, ServerError when the
        server does not start.
        """
        if self.serve is None:
            spec, key = self.spec, NO_KEY
            if spec.api_key_env is not None:
                key = os.environ.get(spec.api_key_env, "").strip()
                if not key:
                    raise EvaluationError(
                        f"the judge's key is missing: ${spec.api_key_env} is not set in this job; "
                        f"export it where you submit, with secrets: [{spec.api_key_env}] in the site"
                    )
                if not key.isascii() or not key.isprintable() or " " in key:
                    raise EvaluationError(f"${spec.api_key_env} does not hold a key: it has blanks "
                                          "or characters that no header takes")  # fmt: skip
            return Endpoint(spec.base_url, key, self.model(benchmark))
        if self._endpoint is None:
            server = self._running.enter_context(self.serve())
            self._running.enter_context(watch(server, on_failure=print))
            self._endpoint = Endpoint(server.base_url, server.api_key, server.model, proxied=False)
        return self._endpoint


def judge_of(
    spec: JudgeSpec | None,
    served_as: str = "",
    serve: Callable[[], AbstractContextManager[RunningServer]] | None = None,
) -> Judge:
    """The judge that a spec asks for. Raises EvaluationError where it names none."""
    if spec is None:
        raise EvaluationError("this benchmark needs a judge: give evaluation.judge in the spec")
    return Judge(spec, served_as, serve)
