"""A server in a thread that speaks the chat completions protocol and answers by a rule."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.benchmarks import arithmetic
from harness.errors import ServerError

_ANSWERS = {p["question"]: str(p["expected_answer"]) for p in arithmetic.problems("test", 200)}


def solve(prompt: str) -> str:
    """The right answer to a question of `arithmetic`, differing with its length."""
    found = next(answer for question, answer in _ANSWERS.items() if question in prompt)
    return f"It is \\boxed{{{found}}}, for {len(prompt)} characters."


@dataclass
class ChatServer:
    """Has what evaluators use of a RunningServer."""

    base_url: str = ""
    api_key: str = "a-secret-key-of-the-task"
    model: str = "run/checkpoint-1@abc"
    start_seconds: float = 0.5
    log_path: Path = Path("server.log")
    asked: list[dict[str, Any]] = field(default_factory=list)
    dead: bool = False

    def raise_if_dead(self) -> None:
        if self.dead:
            raise ServerError("it died")


@contextmanager
def chat_server(rule: Callable[[str], str]) -> Iterator[ChatServer]:
    """Serve on a free port of this machine; without the key the answer is 401."""
    server = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {server.api_key}":
                self.reply(401, {"error": "no key"})
            else:
                self.reply(200, {"data": [{"id": server.model}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("Authorization") != f"Bearer {server.api_key}":
                self.reply(401, {"error": "no key"})
                return
            server.asked.append(body)
            text = rule(body["messages"][-1]["content"])
            choice = {"index": 0, "message": {"role": "assistant", "content": text},
                      "finish_reason": "stop"}  # fmt: skip
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self.reply(200, {"choices": [choice], "usage": usage})

        def reply(self, code: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
