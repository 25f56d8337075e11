"""Ask a server every item of a benchmark; resume by item from an append-only file.

Each answer is one line of `partial-rs<k>.jsonl` (answers.py), written as it comes. A line cut by a
crash is dropped and its item asked again. A request is retried with backoff by the OpenAI client;
what still fails is a row with `error`, which a gate counts, never a silently empty answer.
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
from harness.compute.evaluate.graders.responses import strip_reasoning
from harness.compute.serve.server import RunningServer
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


def generate(work: Generation, server: RunningServer | None, evaluation: EvaluationSpec) -> Answers:
    """An answer to each item, on disk; without a server all must be there already.

    As many requests are under way as `evaluation.concurrency` allows, and no more is in memory.
    Raises ServerError when the server dies meanwhile, EvaluationError when it answers nothing
    but errors. Rows that came until then stay on disk.
    """
    answers = Answers(work.path)
    missing = sum(item["id"] not in answers for item in work.items)
    if missing:
        assert server is not None, "answers are missing and nobody is there to ask"
        try:
            asyncio.run(_generate(work, missing, answers, server, evaluation))
        finally:
            answers.close()
    return answers


async def _generate(
    work: Generation,
    missing: int,
    answers: Answers,
    server: RunningServer,
    evaluation: EvaluationSpec,
) -> None:
    import httpx
    from openai import AsyncOpenAI

    total = len(work.items)
    progress = _AnswerCount(work, total, total - missing)
    came = errors_in_a_row = 0
    timeout = evaluation.request_timeout_minutes * 60
    connections = httpx.Limits(max_connections=evaluation.concurrency)
    todo = ((i, item) for i, item in enumerate(work.items) if item["id"] not in answers)
    async with AsyncOpenAI(
        base_url=server.base_url,
        api_key=server.api_key,
        max_retries=RETRIES,
        timeout=timeout,
        http_client=httpx.AsyncClient(limits=connections, timeout=timeout, trust_env=False),
    ) as client:

        async def worker() -> None:
            nonlocal came, errors_in_a_row
            for index, item in todo:
                row = await ask(client, server.model, work, index, item, evaluation)
                answers.append(row)
                came += 1
                errors_in_a_row = errors_in_a_row + 1 if "error" in row else 0
                if errors_in_a_row >= MAX_ERRORS_IN_A_ROW:
                    raise EvaluationError(
                        f"{work.benchmark.name}: {errors_in_a_row} requests in a row failed, "
                        f"the last with: {row['error']}"
                    )
                progress.step(total - missing + came)

        await _all_or_server_death(
            [worker() for _ in range(min(evaluation.concurrency, missing))], server
        )
    progress.end(total - missing + came)


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
    client: Any, model: str, work: Generation, index: int, item: Item, evaluation: EvaluationSpec
) -> Row:
    """Every turn of an item; its row in NeMo-Skills' field names, or a row with `error`.

    After several turns `generations` holds each answer, `generation` the last, and tokens are
    those of all; an earlier answer stands in context without its think block.
    """
    from openai import APIError

    sampling = evaluation.sampling
    temperature = temperature_of(work.benchmark, item, evaluation)
    started = time.time()
    row: Row = {"id": item["id"]}
    messages: list[dict[str, str]] = []
    answers: list[str] = []
    used: list[int | None] = []
    try:
        for turn in work.benchmark.turns(item):
            messages.append({"role": "user", "content": turn})
            answer = await client.chat.completions.create(
                model=model,
                messages=messages,
                temperature=temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=item_seed(sampling.seed, work.repeat, index),
                extra_body=dict(work.extra_body) if temperature else {},
            )
            if not getattr(answer, "choices", None):
                raise EvaluationError("it answers, but not as a chat completions endpoint does")
            choice = answer.choices[0]
            answers.append(choice.message.content or "")
            messages.append({"role": "assistant", "content": strip_reasoning(answers[-1])})
            # Servers with a reasoning parser send thinking apart; it is kept, and not graded.
            reasoning = (choice.message.model_extra or {}).get("reasoning_content")
            if reasoning:
                row["reasoning_content"] = reasoning
            if row.get("finish_reason") != "length":
                row["finish_reason"] = choice.finish_reason
            used.append(answer.usage.completion_tokens if answer.usage else None)
        row["num_generated_tokens"] = None if None in used else sum(used)
        row["generation"] = answers[-1]
        if len(answers) > 1:
            row["generations"] = answers
    except (APIError, EvaluationError) as error:
        row["error"] = f"{type(error).__name__}: {error}"[:2000]
    ended = time.time()
    return row | {
        "generation_start_time": started,
        "generation_end_time": ended,
        "generation_time": ended - started,
    }


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
            self._say(f"{resumed} of {total} answers are there already")

    def step(self, count: int) -> None:
        if time.monotonic() - self._last >= _PROGRESS_S:
            self._last = time.monotonic()
            self._say(f"{count} of {self._total} answers")

    def end(self, count: int) -> None:
        seconds = time.monotonic() - self._started
        self._say(f"{count} of {self._total} answers, {seconds:.1f} s")

    def _say(self, text: str) -> None:
        print(f"{self._name}: {text}", flush=True)
