"""Who judges: an endpoint somewhere, or a model that this task serves once it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from harness.benchmarks.registry import Benchmark
from harness.compute.evaluate.endpoint.client import NO_KEY, Endpoint
from harness.compute.serve.server import RunningServer, watch
from harness.config.endpoint import merged
from harness.config.judge import JudgeSpec
from harness.errors import EvaluationError


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
        """Fields of each request beside model and messages."""
        spec = self.spec
        ours = {
            "temperature": spec.temperature,
            "max_tokens": spec.max_tokens or benchmark.judge_max_tokens,
        }
        return merged(ours, spec.body)

    def settings(self, benchmark: Benchmark) -> dict[str, Any]:
        """What judgements depend on beside their prompts, in the form that their keys are made of.

        The form may not change: judgements on disk are paid for, and found again by it.
        """
        fields = self.request(benchmark)
        names = ("temperature", "max_tokens")
        ours: dict[str, Any] = {name: fields.pop(name) for name in names if name in fields}
        return {"model": self.model(benchmark), "extra_body": fields, **ours}

    def facts(self, benchmark: Benchmark) -> dict[str, Any]:
        """What a judgement depends on beside its prompt; the address is told, too."""
        where = {} if self.served_as else {"base_url": self.spec.base_url}
        return {**where, **self.settings(benchmark)}

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
