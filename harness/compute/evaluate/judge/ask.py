"""Ask a judge for what is missing: bounded retries, no call paid twice, a dead judge told apart.

Requests run in a thread of their own, so that a signal or an error in the main thread lets those
under way come home: their judgements are paid for. What broke is asked again, and Retry-After is
waited for (../endpoint). A refusal of one prompt (400) is a judgement without verdict, and not
kept; a judge that refuses the key, does not know the model or gives nobody an answer stops the work.
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

from harness.compute.evaluate.endpoint.client import ChatClient, Endpoint, Limits
from harness.compute.evaluate.endpoint.replies import (
    MAX_SUSPECT_IN_A_ROW,
    NO_CHAT,
    Answer,
    Fault,
    Kind,
)
from harness.compute.evaluate.judge.calls import Call
from harness.compute.evaluate.judge.judgements import Judgement
from harness.errors import EvaluationError
from harness.runs.rows import append, open_append

MAX_FAILURES_IN_A_ROW = 5
HOME_S = 20.0
"""How long calls under way may take to come home once the work must stop."""
_PROGRESS_S = 10.0


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
        waiting = iter(self.todo)
        async with ChatClient(
            self.endpoint,
            Limits(self.concurrency, self.timeout_s, self.retries),
            body_field="evaluation.judge.body",
            say=lambda text: print(f"{self.name}: judge: {text}", flush=True),
        ) as client:
            with open_append(self.path) as file:
                workers = [self._worker(client, waiting, file) for _ in range(self.concurrency)]
                await asyncio.gather(*workers)

    async def _worker(
        self, client: ChatClient, waiting: Iterator[tuple[str, Call]], file: Any
    ) -> None:
        for key, call in waiting:
            if self.stop:
                return
            try:
                judgement = self._judgement(key, call, await self._asked(client, call))
            except Fault as fault:
                self._note(key, fault)
            else:
                append(file, judgement, to_disk=True)
                self._in_a_row = 0
                self.came[key] = judgement
                self._unreadable += not self.readable(judgement["judgement"])
            self._say()

    async def _asked(self, client: ChatClient, call: Call) -> tuple[Answer, float]:
        began = time.time()
        answer = await client.ask(call.messages, self.request)
        return answer, round(time.time() - began, 3)

    def _judgement(self, key: str, call: Call, came: tuple[Answer, float]) -> Judgement:
        answer, seconds = came
        lowered = answer.lowered_to
        return {
            "key": key,
            "id": call.item,
            "call": call.name,
            "judge": self.label or self.endpoint.model,
            "judgement": answer.text,
            **answer.reasoning,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "seconds": seconds,
            **({} if lowered is None else {"max_tokens_lowered_to": lowered}),
        }

    def _note(self, key: str, fault: Fault) -> None:
        """A call without a judgement: whether others are worth asking."""
        text = str(fault)
        if fault.kind is Kind.HOPELESS:
            self.stop = text
        elif fault.kind is Kind.REFUSED and not text.startswith(NO_CHAT):
            self._refusal(key, text)
        else:
            suspect = fault.kind is Kind.SUSPECT
            self._failure(text, MAX_SUSPECT_IN_A_ROW if suspect else MAX_FAILURES_IN_A_ROW)

    def _failure(self, text: str, at_most: int = MAX_FAILURES_IN_A_ROW) -> None:
        self.failed.append(text)
        self._in_a_row += 1
        if self._in_a_row >= at_most:
            self.stop = f"{self._in_a_row} calls in a row failed, the last with: {text}"

    def _refusal(self, key: str, text: str) -> None:
        self.refused[key] = text
        if not self.came and len(self.refused) >= MAX_FAILURES_IN_A_ROW:
            self.stop = f"it refuses every prompt: {text}"

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
