"""A real HTTP server that speaks the chat completions protocol and judges by rule.

It counts what it answered (what a paid endpoint would bill), and misbehaves on demand: 429 with
Retry-After, 5xx, silence, malformed verdicts, refusals. Also a program, for other processes:

    python -m tests.compute.evaluate.judge.judge_server RULE
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rule = Callable[[str], str]
KEY = "sk-judge-test-key-0123456789"
_ARENA = re.compile(
    r"<\|The Start of Assistant A's Answer\|>\n(.*)\n<\|The End of Assistant A's Answer\|>\n\n"
    r"<\|The Start of Assistant B's Answer\|>\n(.*)\n<\|The End of Assistant B's Answer\|>",
    re.DOTALL,
)


def longer_wins(prompt: str) -> str:
    """The longer answer is slightly better, a tie when they are as long."""
    match = _ARENA.search(prompt)
    assert match, prompt
    a, b = map(len, match.groups())
    return f"By length.\n\nMy final verdict is: [[{'A>B' if a > b else 'B>A' if b > a else 'A=B'}]]"


def always_a(prompt: str) -> str:
    return "The first one, of course: [[A>>B]]"


def rates_by_length(prompt: str) -> str:
    """1 to 10 by the length of what is rated: the last answer shown."""
    last = re.split(r"\[The Start of Assistant's Answer\]\n|### Assistant A:\n", prompt)[-1]
    answer = re.split(r"\n\[The End|\n\n<\|The End", last)[0]
    return f"Explained.\n\nRating: [[{min(10, 1 + len(answer) // 10)}]]"


RULES: dict[str, Rule] = {r.__name__: r for r in (longer_wins, always_a, rates_by_length)}


@dataclass
class JudgeServer:
    """What it was asked and answered, and how it misbehaves."""

    rule: Rule
    base_url: str = ""
    key: str | None = KEY
    seen: list[dict[str, Any]] = field(default_factory=list)
    """Every request, whatever became of it."""
    answered: list[dict[str, Any]] = field(default_factory=list)
    """Requests that got a judgement: these are paid for."""
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """(status, headers) of the next requests."""
    always: int = 0
    """A status for every request."""
    silent: int = 0
    """The next so many requests get no answer at all for `silence_s`."""
    silence_s: float = 3.0
    trickle: int = 0
    """The next so many answers come as one blank after the other, for `silence_s`."""
    refuse: str = ""
    """Prompts with this text get a 400."""
    malformed: str = ""
    """Prompts with this text get a judgement without a verdict."""
    delay_s: float = 0.0
    before: Callable[[int], bool] | None = None
    """Called with the number of the request; True: never answer it."""
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.answered]


@contextmanager
def judging(rule: Rule, **behaviour: Any) -> Iterator[JudgeServer]:
    server = JudgeServer(rule, **behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server._lock:
                server._at_once += 1
                server.most_at_once = max(server.most_at_once, server._at_once)
            try:
                self.judge(body)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with server._lock:
                    server._at_once -= 1

        def judge(self, body: dict[str, Any]) -> None:
            with server._lock:
                server.seen.append(body)
                number = len(server.seen)
                failure = server.failures.pop(0) if server.failures else None
                silent, server.silent = server.silent > 0, max(server.silent - 1, 0)
            if server.before and server.before(number):
                self.close_connection = True
                return
            if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
                sent = self.headers["Authorization"]
                return self.reply(401, {"error": {"message": f"Incorrect API key: {sent}"}})
            if silent:
                time.sleep(server.silence_s)
                self.close_connection = True
                return None
            if server.trickle:
                server.trickle -= 1
                return self.send_blanks()
            if server.always or failure:
                code, headers = failure or (server.always, {})
                return self.reply(code, {"error": {"message": "busy"}}, headers)
            prompt = body["messages"][-1]["content"]
            if server.refuse and server.refuse in prompt:
                return self.reply(400, {"error": {"message": "content filter"}})
            time.sleep(server.delay_s)
            bad = server.malformed and server.malformed in prompt
            text = "Both are fine, I would say." if bad else server.rule(prompt)
            with server._lock:
                server.answered.append(body)
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            return self.reply(200, {"id": "j", "object": "chat.completion", "created": 1,
                                    "model": body["model"], "choices": [choice],
                                    "usage": usage})  # fmt: skip

        def send_blanks(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.close_connection = True
            until = time.monotonic() + server.silence_s
            while time.monotonic() < until:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.2)

        def reply(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


if __name__ == "__main__":
    with judging(RULES[sys.argv[1]]) as running:
        print(running.base_url, flush=True)
        threading.Event().wait()
