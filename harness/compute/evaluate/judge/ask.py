"""Ask a judge for what is missing: bounded retries, no call paid twice, a dead judge told apart.

Requests run in a thread of their own, so that a signal or an error in the main thread lets those
under way come home: their judgements are paid for. A time-out, 429 or 5xx is asked again by the
OpenAI client, which honours Retry-After (up to two minutes). A refusal of one prompt (400) is a
judgement without verdict, and not kept; a judge that refuses the key, does not know the model or
gives nobody an answer stops the work.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.compute.evaluate.judge.calls import Call
from harness.compute.evaluate.judge.judgements import Judgement
from harness.errors import EvaluationError
from harness.runs.rows import append

MAX_FAILURES_IN_A_ROW = 5
HOME_S = 20.0
"""How long calls under way may take to come home once the work must stop."""
_PROGRESS_S = 10.0
_MAX_RETRY_AFTER_S = 120.0  # longer waits the OpenAI client does not accept
_HOPELESS = {
    401: "the key is refused",
    403: "the key is not allowed to use this model",
    404: "no such model or address",
}


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    proxied: bool = True
    """Take proxies from the environment; not for a server on this node."""


@dataclass
class Asking:
    """Calls under way: what is to be asked, how, and what came."""

    name: str
    todo: Sequence[tuple[str, Call]]
    """(key, call)"""
    path: Path
    """The append-only file."""
    endpoint: Endpoint
    request: Mapping[str, Any]
    """Fields of every request beside model and messages."""
    concurrency: int
    timeout_s: float
    retries: int
    readable: Callable[[str], bool]
    label: str = ""
    """The judge's name in the file; the endpoint's model unless given."""
    came: dict[str, Judgement] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    stop: str = ""
    """Why nothing more is asked."""
    _in_a_row: int = 0
    _unreadable: int = 0
    _said: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Ask all. Raises EvaluationError when calls stay without an answer; what came is kept."""
        broken: list[BaseException] = []
        over = threading.Event()  # a join() that a signal interrupts takes the thread for ended

        def work() -> None:
            try:
                asyncio.run(self._ask_all())
            except BaseException as error:
                broken.append(error)
            finally:
                over.set()

        threading.Thread(target=work, name="judge", daemon=True).start()
        try:
            over.wait()
        except BaseException:
            self.stop = self.stop or "the job was told to stop"
            _wait_for_home(over)
            raise
        if broken:
            raise broken[0]
        if self.stop or self.failed:
            missing = len(self.todo) - len(self.came) - len(self.refused)
            raise EvaluationError(
                f"{self.name}: judge {self.endpoint.model}: {self.stop or self.failed[-1]}; {missing} "
                f"of {len(self.todo)} calls have no answer. Answers and judgements are kept; "
                "run it again to judge what is missing"
            )

    async def _ask_all(self) -> None:
        import httpx
        from openai import AsyncOpenAI

        waiting = iter(self.todo)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        async with AsyncOpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.api_key,
            max_retries=self.retries,
            timeout=self.timeout_s,
            http_client=httpx.AsyncClient(timeout=self.timeout_s, trust_env=self.endpoint.proxied),
        ) as client:
            with self.path.open("ab") as file:
                workers = [self._worker(client, waiting, file) for _ in range(self.concurrency)]
                await asyncio.gather(*workers)

    async def _worker(self, client: Any, waiting: Iterator[tuple[str, Call]], file: Any) -> None:
        for key, call in waiting:
            if self.stop:
                return
            judgement = await self._ask(client, key, call)
            if judgement is not None:
                append(file, judgement, to_disk=True)
                self.came[key] = judgement
                self._unreadable += not self.readable(judgement["judgement"])
            self._say()

    async def _ask(self, client: Any, key: str, call: Call) -> Judgement | None:
        from openai import APIError, APIStatusError

        began = time.time()
        try:
            asked = client.chat.completions.create(
                model=self.endpoint.model, messages=call.messages, **self.request
            )
            # The client bounds the silence between two bytes, not the whole.
            whole = (self.retries + 1) * self.timeout_s + self.retries * _MAX_RETRY_AFTER_S
            answer = await asyncio.wait_for(asked, whole)
            choices = getattr(answer, "choices", None)
            if not choices:
                self._failure("it answers, but not as a chat completions endpoint does")
                return None
        except APIStatusError as error:
            text = self._scrubbed(f"HTTP {error.status_code}: {error.message}")
            if error.status_code in _HOPELESS:
                self.stop = f"{_HOPELESS[error.status_code]} ({text})"
            elif error.status_code in (400, 413, 422):
                self._refusal(key, text)
            else:
                self._failure(text)
            return None
        except asyncio.TimeoutError:
            self._failure("it sends, but its answer does not end")
            return None
        except APIError as error:  # no connection, a time-out, an answer that is no JSON
            self._failure(self._scrubbed(f"{type(error).__name__}: {error}"))
            return None
        self._in_a_row = 0
        usage = answer.usage
        return {
            "key": key,
            "id": call.item,
            "call": call.name,
            "judge": self.label or self.endpoint.model,
            "judgement": choices[0].message.content or "",
            "finish_reason": choices[0].finish_reason,
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "completion_tokens": usage.completion_tokens if usage else None,
            "seconds": round(time.time() - began, 3),
        }

    def _failure(self, text: str) -> None:
        self.failed.append(text)
        self._in_a_row += 1
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stop = f"{self._in_a_row} calls in a row failed, the last with: {text}"

    def _refusal(self, key: str, text: str) -> None:
        self.refused[key] = text
        if not self.came and len(self.refused) >= MAX_FAILURES_IN_A_ROW:
            self.stop = f"it refuses every prompt: {text}"

    def _scrubbed(self, text: str) -> str:
        return text.replace(self.endpoint.api_key, "***")[:500]

    def _say(self) -> None:
        done = len(self.came) + len(self.refused) + len(self.failed)
        if done == len(self.todo) or time.monotonic() - self._said >= _PROGRESS_S:
            self._said = time.monotonic()
            tokens = sum((j["prompt_tokens"] or 0) + (j["completion_tokens"] or 0)
                         for j in self.came.values())  # fmt: skip
            print(f"{self.name}: {len(self.came)} of {len(self.todo)} judgements by "
                  f"{self.endpoint.model}, {self._unreadable} without a verdict, "
                  f"{len(self.refused)} refused, {len(self.failed)} failed, {tokens} tokens",
                  flush=True)  # fmt: skip


def _wait_for_home(over: threading.Event) -> None:
    """Until it is set, HOME_S at most. Slurm sends TERM right after the USR2 that we obey already."""
    deadline = time.monotonic() + HOME_S
    while not over.is_set() and time.monotonic() < deadline:
        with suppress(SystemExit):
            over.wait(max(deadline - time.monotonic(), 0))
