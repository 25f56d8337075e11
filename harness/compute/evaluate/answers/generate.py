"""Ask a server every item of a benchmark; resume by item from an append-only file.

Each answer is one line of `partial-rs<k>.jsonl` (file.py), written as it comes. A line cut by a
crash is dropped and its item asked again. A request that broke goes out again (../endpoint); what
still fails is a row with `error`, which a gate counts, never a silently empty answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.benchmarks.registry import Benchmark, Item
from harness.compute.evaluate.answers.file import Answers
from harness.compute.evaluate.answers.finish import gravest
from harness.compute.evaluate.endpoint.client import ChatClient, Endpoint, Limits
from harness.compute.evaluate.endpoint.replies import MAX_SUSPECT_IN_A_ROW, Answer, Fault, Kind
from harness.compute.evaluate.graders.responses import strip_reasoning
from harness.compute.serve.server import RunningServer
from harness.config.endpoint import merged
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError

RETRIES = 4
MAX_ERRORS_IN_A_ROW = 20
_PROGRESS_S = 10.0
_LIVENESS_S = 2.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Generation:
    """What is asked: a benchmark's items, once."""

    benchmark: Benchmark
    items: Sequence[Item]
    repeat: int
    path: Path
    """The append-only file."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Fields that only this engine's requests have."""


def generate(
    work: Generation,
    server: RunningServer | None,
    evaluation: EvaluationSpec,
    *,
    settled: bool = False,
) -> Answers:
    """An answer to each item, on disk; without a server all must be there already.

    `settled`: an item whose request failed counts as asked. As many requests are under way as
    `evaluation.concurrency` allows, and no more is in memory. Raises ServerError when the server
    dies meanwhile, EvaluationError when it answers nothing but errors. Rows that came until then
    stay on disk.
    """
    answers = Answers(work.path, settled=settled)
    missing = sum(item["id"] not in answers for item in work.items)
    _tell_what_is_left_out(work, answers, missing)
    if missing:
        assert server is not None, "answers are missing and nobody is there to ask"
        try:
            asyncio.run(_generate(work, missing, answers, server, evaluation))
        finally:
            answers.close()
    return answers


def _tell_what_is_left_out(work: Generation, answers: Answers, missing: int) -> None:
    """Rows on disk that do not count: damaged ones, and those of items that are not asked."""
    foreign = len(answers) - (len(work.items) - missing)
    for count, what in (
        (answers.damaged, "are damaged: what cannot be read of them is asked again"),
        (foreign, "answer no item of this benchmark: left out"),
    ):
        if count:
            print(f"{work.benchmark.name}: {count} lines of {work.path.name} {what}", flush=True)


async def _generate(
    work: Generation,
    missing: int,
    answers: Answers,
    server: RunningServer,
    evaluation: EvaluationSpec,
) -> None:
    total = len(work.items)
    progress = _AnswerCount(work, total, total - missing)
    came = 0
    in_vain = _InVain(work.benchmark.name)
    at_once = min(evaluation.concurrency, missing)
    todo = ((i, item) for i, item in enumerate(work.items) if item["id"] not in answers)
    async with ChatClient(
        Endpoint(server.base_url, server.api_key, server.model, getattr(server, "proxied", False)),
        Limits(at_once, evaluation.request_timeout_minutes * 60, RETRIES),
        body_field="evaluation.body",
        say=progress.say,
    ) as client:

        async def worker() -> None:
            nonlocal came
            for index, item in todo:
                row, fault = await ask(client, work, index, item, evaluation)
                answers.append(row)
                came += 1
                in_vain.note(fault)
                progress.step(total - missing + came)

        await _all_or_server_death([worker() for _ in range(at_once)], server)
    progress.end(total - missing + came)


@dataclass
class _InVain:
    """Tells when there is no use in asking on."""

    name: str
    _errors: int = 0
    _suspect: int = 0

    def note(self, fault: Fault | None) -> None:
        """Of a request: why it has no answer, None where it has one. Raises EvaluationError."""
        self._errors = self._errors + 1 if fault else 0
        suspect = fault is not None and fault.kind is Kind.SUSPECT
        self._suspect = self._suspect + 1 if suspect else 0
        if fault is None:
            return
        if fault.kind is Kind.HOPELESS:
            raise EvaluationError(f"{self.name}: {fault}")
        if self._suspect >= MAX_SUSPECT_IN_A_ROW or self._errors >= MAX_ERRORS_IN_A_ROW:
            raise EvaluationError(
                f"{self.name}: {self._errors} requests in a row failed, the last with: {fault}"
            )


async def _all_or_server_death(tasks: Sequence[Any], server: RunningServer) -> None:
    """Run all; stop at the first exception, or as soon as the server is dead."""
    running = {asyncio.ensure_future(task) for task in tasks}
    try:
        while running:
            finished, running = await asyncio.wait(
                running, timeout=_LIVENESS_S, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in finished:
                task.result()
            server.raise_if_dead()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def ask(
    client: ChatClient, work: Generation, index: int, item: Item, evaluation: EvaluationSpec
) -> tuple[Row, Fault | None]:
    """Every turn of an item: its row in NeMo-Skills' field names, or one with `error` and the fault.

    After several turns `generations` holds each answer, `generation` the last, and tokens are
    those of all; an earlier answer stands in context without its think block. What was thought
    apart is kept under the server's own name of it.
    """
    fields = request_fields(work, index, item, evaluation)
    started = time.time()
    row: Row = {"id": item["id"]}
    messages: list[dict[str, str]] = []
    answers: list[Answer] = []
    fault: Fault | None = None
    try:
        for turn in work.benchmark.turns(item):
            messages.append({"role": "user", "content": turn})
            answers.append(await client.ask(messages, fields))
            messages.append({"role": "assistant", "content": strip_reasoning(answers[-1].text)})
        row |= _answered(answers)
    except Fault as error:
        fault = error
        row["error"] = str(error)[:2000]
    ended = time.time()
    times = {
        "generation_start_time": started,
        "generation_end_time": ended,
        "generation_time": ended - started,
    }
    return row | times, fault


def request_fields(
    work: Generation, index: int, item: Item, evaluation: EvaluationSpec
) -> dict[str, Any]:
    """The fields of an item's requests beside model and messages."""
    sampling = evaluation.sampling
    temperature = temperature_of(work.benchmark, item, evaluation)
    ours = {
        "temperature": temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": item_seed(sampling.seed, work.repeat, index),
        **(work.extra_body if temperature else {}),
    }
    return merged(ours, evaluation.body)


def _answered(answers: Sequence[Answer]) -> Row:
    """What a row says of its answers: one for each turn."""
    row: Row = {}
    for answer in answers:
        row |= answer.reasoning
    used = [answer.completion_tokens for answer in answers]
    lowered = [answer.lowered_to for answer in answers if answer.lowered_to is not None]
    row["finish_reason"] = gravest([answer.finish_reason for answer in answers])
    row["num_generated_tokens"] = None if None in used else sum(filter(None, used))
    if lowered:
        row["max_tokens_lowered_to"] = min(lowered)
    row["generation"] = answers[-1].text
    if len(answers) > 1:
        row["generations"] = [answer.text for answer in answers]
    return row


def temperature_of(benchmark: Benchmark, item: Item, evaluation: EvaluationSpec) -> float:
    """The benchmark's own for the item's category, unless the spec says otherwise."""
    sampling = evaluation.sampling
    own = benchmark.temperatures.get(item.get("category", ""))
    return own if sampling.by_category and own is not None else sampling.temperature


SEED_RULE = "seed + repeat * 1000003 + index of the item, modulo 2^31"


def item_seed(seed: int, repeat: int, index: int) -> int:
    """A seed for each item and repeat, the same in every run."""
    return (seed + repeat * 1_000_003 + index) % 2**31


class _AnswerCount:
    """A line at most every ten seconds."""

    def __init__(self, work: Generation, total: int, resumed: int) -> None:
        self._name = f"{work.benchmark.name}" + (f" rs{work.repeat}" if work.repeat else "")
        self._total, self._last, self._started = total, time.monotonic(), time.monotonic()
        if resumed:
            self.say(f"{resumed} of {total} answers are there already")

    def step(self, count: int) -> None:
        if time.monotonic() - self._last >= _PROGRESS_S:
            self._last = time.monotonic()
            self.say(f"{count} of {self._total} answers")

    def end(self, count: int) -> None:
        seconds = time.monotonic() - self._started
        self.say(f"{count} of {self._total} answers, {seconds:.1f} s")

    def say(self, text: str) -> None:
        """A line of the log."""
        print(f"{self._name}: {text}", flush=True)
