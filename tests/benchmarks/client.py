"""Requests/s of our generation client against the OpenAI client over aiohttp, at an instant server.

    python -m tests.benchmarks.client [ROUNDS] [REQUESTS]

And `eval` of gsm8k's 1,319 items, from the command line to the table, on a server that answers
after 1.5 s. The server has a process of its own. Ours reads the questions, writes every answer to
disk and is resumable; the other holds its answers in memory. In turn (A B A B …); the ratio is of
medians, one for each number of requests under way.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.benchmarks import arithmetic
from harness.benchmarks.prepare import write_items
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.answers.generate import Generation, generate
from harness.compute.serve.external import external_server
from harness.config.evaluate import ExternalServer
from harness.config.evaluation import EvaluationSpec

CONCURRENCY = (64, 512)
ANSWER_S = 1.5
"""Of the slow server."""
GOAL, GOAL_S = 0.9, 20


def _answer(number: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"So it is \\boxed{{{number}}}."}
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    }  # fmt: skip


def _serve(port: int, wait_s: float) -> None:
    from aiohttp import web

    numbers = itertools.count()

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(wait_s)
        return web.json_response(_answer(next(numbers)))

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, backlog=1024)


@contextmanager
def running(wait_s: float = 0.0) -> Iterator[str]:
    """A server's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(port, wait_s), daemon=True
    )
    process.start()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.join()


def ours(address: str, folder: Path, questions: list[str], concurrency: int) -> float:
    items = [{"id": f"q/{number}", "question": text} for number, text in enumerate(questions)]
    work = Generation(BENCHMARKS["arithmetic"], items, 0, folder / "answers.jsonl")
    evaluation = EvaluationSpec.model_validate(
        {"benchmarks": ["arithmetic"], "concurrency": concurrency}
    )
    server = external_server(ExternalServer(address=address, model="m"))
    began = time.monotonic()
    answers = generate(work, server, evaluation)
    seconds = time.monotonic() - began
    found = {row["generation"] for row in answers.rows([str(item["id"]) for item in items])}
    assert len(found) == len(items), f"{len(found)} different answers to {len(items)} requests"
    return len(items) / seconds


def theirs(address: str, questions: list[str], concurrency: int) -> float:
    from httpx2 import Limits
    from openai import AsyncOpenAI, DefaultAioHttpClient

    prompt = BENCHMARKS["arithmetic"].prompt

    async def ask_all() -> float:
        limits = Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        queue = iter(questions)
        answers: list[Any] = []
        async with AsyncOpenAI(
            base_url=address, api_key="none", http_client=DefaultAioHttpClient(limits=limits)
        ) as client:

            async def worker() -> None:
                for text in queue:
                    messages: Any = [{"role": "user", "content": prompt.format(question=text)}]
                    answers.append(
                        await client.chat.completions.create(
                            model="m", messages=messages, temperature=0.6, top_p=0.95,
                            max_tokens=2048, seed=7,
                        )
                    )  # fmt: skip

            began = time.monotonic()
            await asyncio.gather(*(worker() for _ in range(concurrency)))
            seconds = time.monotonic() - began
        assert len(answers) == len(questions)
        return len(questions) / seconds

    return asyncio.run(ask_all())


def compare(rounds: int, count: int) -> None:
    questions = [str(p["question"]) for p in arithmetic.problems("test", count)]
    with running() as address, tempfile.TemporaryDirectory() as name:
        for concurrency in CONCURRENCY:
            rates: dict[str, list[float]] = {"ours": [], "openai": []}
            for number in range(rounds):
                folder = Path(name) / f"{concurrency}-{number}"
                folder.mkdir()
                rates["ours"].append(ours(address, folder, questions, concurrency))
                rates["openai"].append(theirs(address, questions, concurrency))
            own, other = (statistics.median(found) for found in rates.values())
            print(
                f"concurrency {concurrency}: ours {own:.0f} requests/s, OpenAI over aiohttp "
                f"{other:.0f}: ratio {own / other:.2f} (goal: at least {GOAL})",
                flush=True,
            )


def evaluate() -> None:
    gsm8k = BENCHMARKS["gsm8k"]
    with running(ANSWER_S) as address, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problems = arithmetic.problems("test", gsm8k.items)
        items: list[Any] = [
            {"id": f"gsm8k/{number}", "question": p["question"], "expected_answer": "42"}
            for number, p in enumerate(problems)
        ]
        write_items(gsm8k, items, folder)
        for concurrency in CONCURRENCY:
            argv = [
                sys.executable, "-m", "harness", "eval", "m", "-b", "gsm8k", "--local",
                "--server-address", address, "--set", f"concurrency={concurrency}",
                "--set-site", f"runs_dir={folder / str(concurrency)}",
                "--set-site", f"benchmarks_dir={folder}",
            ]  # fmt: skip
            began = time.monotonic()
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - began
            if done.returncode != 0:
                sys.exit(f"{done.stdout}{done.stderr}")
            print(
                f"eval of {gsm8k.items} items, {ANSWER_S} s each, concurrency {concurrency}: "
                f"{seconds:.1f} s, of which the server needs "
                f"{-(-gsm8k.items // concurrency) * ANSWER_S:.1f} s"
                + (f" (goal: at most {GOAL_S} s)" if concurrency == CONCURRENCY[-1] else ""),
                flush=True,
            )


if __name__ == "__main__":
    given = list(map(int, sys.argv[1:]))
    compare(*[*given, *(3, 3000)[len(given) :]])
    evaluate()
