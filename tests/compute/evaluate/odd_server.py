"""A chat completions server that is odd in one way: a rule says what each request gets.

Every byte of a reply may be a rule's own, so what no HTTP library would send comes from here, too.
"""

from __future__ import annotations

import itertools
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MODEL = "m"


@dataclass(frozen=True)
class Reply:
    """What is sent. `body` is JSON unless it is bytes."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """In place of a whole HTTP reply."""
    drip_s: float = 0.0
    """After the body a blank now and then for so long, within a length that is never reached."""
    wait_s: float = 0.0


Rule = Callable[[int, dict[str, Any]], Reply]


def completion(content: Any, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": MODEL,
            "choices": [choice], "usage": usage}  # fmt: skip


def fine(number: int, asked: Mapping[str, Any]) -> Reply:
    """An answer that differs from all others."""
    return Reply(completion(f"So it is \\boxed{{{number}}}."))


def refusal(text: str, status: int = 400) -> Reply:
    return Reply({"error": {"message": text, "type": "BadRequestError", "code": status}}, status)


@dataclass
class OddServer:
    """A running one. Has what evaluators use of a server that is not ours."""

    base_url: str = ""
    api_key: str = "none"
    model: str = MODEL
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of requests, in the order in which they came."""
    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Request line and headers (lower case) of all."""

    def raise_if_dead(self) -> None: ...


@contextmanager
def odd_server(rule: Rule, models: Any = None) -> Iterator[OddServer]:
    """Serve on a free port of this machine; `models` is what GET answers."""
    server, numbers, lock = OddServer(), itertools.count(), threading.Lock()
    listed = Reply({"object": "list", "data": [{"id": MODEL}]}) if models is None else models

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.readline():
                headers = {}
                while line := self.rfile.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = self.rfile.read(int(headers.get("content-length", 0)))
                with lock:
                    server.seen.append((head.decode("latin-1").strip(), headers))
                    if body:
                        server.asked.append(json.loads(body))
                reply = rule(next(numbers), json.loads(body)) if body else listed
                time.sleep(reply.wait_s)
                if not self._send(reply):
                    return

        def _send(self, reply: Reply) -> bool:
            """Whether the connection is as good as before."""
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                return False
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            length = len(data) + (1 << 20 if reply.drip_s else 0)
            headers = {
                "Content-Type": "application/json",
                "Content-Length": length,
                **reply.headers,
            }
            head = f"HTTP/1.1 {reply.status} Odd\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in headers.items()
            )
            self.wfile.write(head.encode("latin-1") + b"\r\n" + data)
            until = time.monotonic() + reply.drip_s
            while time.monotonic() < until:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
            return not reply.drip_s

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 256
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: Any, address: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as http:
        server.base_url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            http.shutdown()
