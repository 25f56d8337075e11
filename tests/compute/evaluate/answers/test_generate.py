"""Asking a server every item: resume, torn files, retries, errors, a server that dies.

The server here is a thread that speaks the chat completions protocol; the OpenAI client is real.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate import gates
from harness.compute.evaluate.answers.file import Answers
from harness.compute.evaluate.answers.generate import Generation, generate, item_seed
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.config.gates import GatesSpec
from harness.errors import EvaluationError, ServerError

pytest.importorskip("aiohttp", reason="needs the extra `eval`")

ITEMS = [{"id": f"gsm8k/{i}", "question": f"How many is {i}?"} for i in range(6)]
SPEC = EvaluationSpec(
    benchmarks=("gsm8k",), concurrency=3, sampling=Sampling(temperature=0.6, seed=7)
)


@dataclass
class Protocol:
    """A running server, what it was asked, and how it misbehaves."""

    base_url: str = ""
    api_key: str = "key"
    model: str = "m"
    asked: list[dict[str, Any]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Status codes for the next requests, before answers come."""
    reject: str = ""
    """Requests that hold this text are refused with 400, always."""
    choices: bool = True
    """Else an answer holds no choice."""
    counts: bool = True
    """Else an answer does not tell its tokens."""
    dead: bool = False

    def raise_if_dead(self) -> None:
        if self.dead:
            raise ServerError("it died")


@pytest.fixture
def server() -> Iterator[Protocol]:
    protocol = Protocol()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][0]["content"]
            if protocol.failures:
                self.answer(protocol.failures.pop(0), {"error": {"message": "busy"}})
            elif protocol.reject and protocol.reject in question:
                self.answer(400, {"error": {"message": "too long"}})
            else:
                protocol.asked.append(body)
                message = {"role": "assistant", "content": f"answer to {question[-12:]}"}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
                self.answer(200, {"id": "x", "object": "chat.completion", "created": 1,
                                  "model": "m", "choices": [choice] if protocol.choices else [],
                                  "usage": usage if protocol.counts else None})  # fmt: skip

        def answer(self, code: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    protocol.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield protocol
    http.shutdown()
    http.server_close()


def ask(server: Protocol, path: Path, items: Any = ITEMS) -> list[dict[str, Any]]:
    answers = generate(Generation(BENCHMARKS["gsm8k"], items, 0, path), server, SPEC)  # type: ignore[arg-type]
    return list(answers.rows(item["id"] for item in items))


def test_rows_come_in_the_items_order_with_the_benchmarks_prompt(
    server: Protocol, tmp_path: Path
) -> None:
    rows = ask(server, tmp_path / "p.jsonl")
    assert [row["id"] for row in rows] == [item["id"] for item in ITEMS]
    assert rows[2]["generation"] == "answer to w many is 2?"
    assert {row["num_generated_tokens"] for row in rows} == {5}
    assert all(row["generation_end_time"] >= row["generation_start_time"] for row in rows)
    first = min(server.asked, key=lambda body: body["seed"])
    assert first["messages"][0]["content"] == (
        "Solve the following math problem. Make sure to put the answer (and only answer) "
        "inside \\boxed{}.\n\nHow many is 0?"
    )
    assert sorted(body["seed"] for body in server.asked) == [7, 8, 9, 10, 11, 12]
    assert first["temperature"] == 0.6


def test_answers_that_are_there_are_not_asked_again(server: Protocol, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    first = ask(server, path)
    server.asked.clear()
    assert ask(server, path) == first
    assert server.asked == []


@pytest.mark.long
def test_a_torn_last_line_is_asked_again_and_nothing_else(server: Protocol, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    ask(server, path)
    text = path.read_bytes()
    path.write_bytes(text[:-10])
    lost = json.loads(text.splitlines()[-1])["id"]
    assert len(Answers(path)) == 5
    server.asked.clear()
    rows = ask(server, path)
    assert len(server.asked) == 1
    assert [row["id"] for row in rows] == [item["id"] for item in ITEMS]
    assert json.loads(path.read_text().splitlines()[-1])["id"] == lost


@pytest.mark.long
def test_a_busy_server_is_asked_again(server: Protocol, tmp_path: Path) -> None:
    server.failures = [429, 503]
    assert all("error" not in row for row in ask(server, tmp_path / "p.jsonl"))


def test_a_refused_item_is_an_error_row_which_a_gate_counts(
    server: Protocol, tmp_path: Path
) -> None:
    server.reject = "is 3?"
    path = tmp_path / "p.jsonl"
    rows = ask(server, path)
    assert "too long" in rows[3]["error"]
    found = gates.answers_verdict(gates.tally(rows), 6, GatesSpec())
    assert "1 of 6 requests failed" in found.reason
    server.reject = ""
    assert "error" not in ask(server, path)[3]


def test_an_answer_without_a_choice_is_an_error_row(server: Protocol, tmp_path: Path) -> None:
    server.choices = False
    rows = ask(server, tmp_path / "p.jsonl")
    assert all("not as a chat completions endpoint" in row["error"] for row in rows)
    assert not any("generation" in row for row in rows)


def test_tokens_that_the_server_does_not_tell_are_unknown(server: Protocol, tmp_path: Path) -> None:
    server.counts = False
    assert {row["num_generated_tokens"] for row in ask(server, tmp_path / "p.jsonl")} == {None}


@pytest.mark.long
def test_nothing_but_errors_stops_the_task(server: Protocol, tmp_path: Path) -> None:
    server.reject = "How many"
    many = [{"id": f"x/{i}", "question": f"How many is {i}?"} for i in range(60)]
    with pytest.raises(EvaluationError, match="requests in a row failed"):
        ask(server, tmp_path / "p.jsonl", many)


def test_a_dead_server_stops_the_task_and_keeps_what_came(server: Protocol, tmp_path: Path) -> None:
    server.dead = True
    path = tmp_path / "p.jsonl"
    with pytest.raises(ServerError, match="it died"):
        ask(server, path)
    server.dead = False
    assert len(ask(server, path)) == 6


def test_seeds_differ_by_item_and_repeat() -> None:
    seeds = {item_seed(0, repeat, index) for repeat in range(4) for index in range(1400)}
    assert len(seeds) == 4 * 1400
