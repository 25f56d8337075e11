"""A small server with the part of the Hub's protocol that `datasets` and `huggingface_hub` use.

One dataset repository of files; API answers as the Hub gives them (info, tree, paths-info), and
files under /datasets/<id>/resolve/<sha>/<path> with ETag, X-Repo-Commit and ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "a" * 40


@dataclass
class Hub:
    """What the server has, how it misbehaves, what it was asked."""

    repository: str
    files: dict[str, bytes]
    url: str = ""
    break_after: int | None = None
    """Bytes of the file `breaks` after which the connection is cut."""
    breaks: str = ""
    gated: bool = False
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of files."""


@contextmanager
def hub(repository: str, files: dict[str, bytes]) -> Iterator[Hub]:
    state = Hub(repository, files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None: ...

        def reply(self, code: int, body: Any, **headers: str) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def missing(self, code: str = "RepoNotFound") -> None:
            self.reply(404, {"error": "not found"}, X_Error_Code=code)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            state.asked.append(f"{self.command} {self.path}")
            if state.gated:
                self.reply(403, {"error": "gated"}, X_Error_Code="GatedRepo")
            elif path.startswith(f"/api/datasets/{state.repository}"):
                self.api(path.removeprefix(f"/api/datasets/{state.repository}"))
            elif found := re.fullmatch(rf"/datasets/{state.repository}/resolve/([^/]+)/(.+)", path):
                self.file(found[2])
            else:
                self.missing()

        def do_POST(self) -> None:
            state.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.headers.get("Content-Type", "").startswith("application/json"):
                paths = json.loads(body)["paths"]
            else:
                paths = parse_qs(body).get("paths", [])
            self.reply(200, [self.entry(p) for p in paths if p in state.files])

        def api(self, rest: str) -> None:
            if rest.startswith("/tree/"):
                folder = rest.split("/", 3)[3] if rest.count("/") > 2 else ""
                self.reply(200, self.tree(folder))
            elif rest == "" or rest.startswith("/revision/"):
                revision = rest.removeprefix("/revision/")
                if revision not in ("", "main", SHA):
                    self.missing("RevisionNotFound")
                    return
                siblings = [{"rfilename": name} for name in state.files]
                self.reply(200, {"id": state.repository, "sha": SHA, "siblings": siblings,
                                 "private": False, "tags": [], "downloads": 0})  # fmt: skip
            else:
                self.missing("EntryNotFound")

        def tree(self, folder: str) -> list[dict[str, Any]]:
            prefix = f"{folder}/" if folder else ""
            inside = [name for name in state.files if name.startswith(prefix)]
            files = [self.entry(name) for name in inside if "/" not in name.removeprefix(prefix)]
            folders = {prefix + n.removeprefix(prefix).split("/")[0] for n in inside
                       if "/" in n.removeprefix(prefix)}  # fmt: skip
            return [*({"type": "directory", "path": f, "oid": "0"} for f in folders), *files]

        def entry(self, name: str) -> dict[str, Any]:
            return {"type": "file", "path": name, "size": len(state.files[name]),
                    "oid": hashlib.sha1(state.files[name]).hexdigest()}  # fmt: skip

        def file(self, name: str) -> None:
            if name not in state.files:
                self.missing("EntryNotFound")
                return
            data = state.files[name]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            part = data[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(part)))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = state.break_after if name == state.breaks else None
            part = part if cut is None else part[: max(0, cut - start)]
            self.wfile.write(part)
            state.sent += len(part)
            if cut is not None:
                self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
