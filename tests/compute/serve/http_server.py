"""An HTTP server in a thread that answers by a rule, for code that asks servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    path: str
    authorization: str | None
    body: Any = None


Rule = Callable[[Asked], tuple[int, Any]]
"""Code and body of the answer; bytes are sent as they are, anything else as JSON."""


@contextmanager
def http_server(rule: Rule) -> Iterator[tuple[str, list[Asked]]]:
    """Base address (`http://127.0.0.1:<port>/v1`) and everything that was asked, in order."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self.answer(Asked(self.path, self.headers.get("Authorization")))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(Asked(self.path, self.headers.get("Authorization"), body))

        def answer(self, request: Asked) -> None:
            asked.append(request)
            code, body = rule(request)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1", asked
    finally:
        http.shutdown()
        http.server_close()
