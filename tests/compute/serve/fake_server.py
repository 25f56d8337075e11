"""An OpenAI-compatible server that misbehaves on demand; standard library only.

python fake_server.py '{"option": value}' vllm serve ... --served-model-name N --port P
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1])
COMMAND = sys.argv[2:]
STARTED = time.monotonic()
HELD: list[socket.socket] = []


def flag(name: str) -> str:
    return COMMAND[COMMAND.index(name) + 1]


def own_key() -> str | None:
    """As the engines take it: vLLM from the environment, SGLang from its arguments (put there
    inside the process, see sglang.LAUNCH)."""
    return flag("--api-key") if "--api-key" in COMMAND else os.environ.get("VLLM_API_KEY")


KEY = own_key()


def daemon() -> None:
    """Fork twice into another session, ignore TERM, live for ever: what engines leave behind."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(OPTIONS["daemon"]).write_text(str(os.getpid()))
    while True:
        time.sleep(3600)


def answer(messages: list[dict[str, Any]]) -> str:
    """What it says; with the option `sums` the right answer to `4 + 1?`, and to 3 never."""
    word = str(messages[-1]["content"]).partition(" ")[0] if messages else ""
    if OPTIONS.get("sums") and word.isdigit():
        return f"It is {int(word) + 1}" if word != "3" else "None"
    return f"hello to {messages}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        print(format % args, flush=True)

    def reply(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def allowed(self) -> bool:
        sent = self.headers.get("Authorization")
        if OPTIONS.get("open") or sent == f"Bearer {KEY}":
            return True
        self.reply(401, {"error": "Unauthorized"})
        return False

    def do_GET(self) -> None:
        if self.path == "/health":
            hang_file = OPTIONS.get("hang_file")
            while hang_file and Path(hang_file).exists():
                time.sleep(0.05)
            late = time.monotonic() - STARTED < OPTIONS.get("healthy_after", 0)
            sick = Path(OPTIONS.get("sick_file", "/nonexistent")).exists()
            self.reply(503 if late or sick else 200, {})
        elif self.allowed():
            name = OPTIONS.get("model", flag("--served-model-name"))
            self.reply(200, {"data": [{"id": name}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if OPTIONS.get("die_on_request"):
            print("engine core died", flush=True)
            os._exit(7)
        if self.allowed():
            sick = Path(OPTIONS.get("sick_file", "/nonexistent")).exists()
            code = 500 if sick else OPTIONS.get("completion", 200)
            time.sleep(OPTIONS.get("slow", 0))
            asked = json.loads(body)
            message = {"role": "assistant", "content": answer(asked["messages"])}
            self.reply(
                code,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": asked.get("model"),
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
                },
            )


def main() -> None:
    print("key in the log:", KEY, flush=True)
    if "daemon" in OPTIONS:
        daemon()
    if "print_and_die" in OPTIONS:
        print(OPTIONS["print_and_die"], flush=True)
        sys.exit(3)
    port = int(flag("--port"))
    if port == OPTIONS.get("taken"):
        print(f"OSError: [Errno 98] Address already in use: 127.0.0.1:{port}", flush=True)
        sys.exit(1)
    if OPTIONS.get("internal"):
        # As the engines do: torch.distributed's store, then ports among their own processes.
        for name, count in (("MASTER_PORT", 1), ("VLLM_PORT", 8)):
            for number in range(int(os.environ[name]), int(os.environ[name]) + count):
                held = socket.socket()
                held.bind(("", number))
                held.listen()
                HELD.append(held)
    if OPTIONS.get("never_open"):
        time.sleep(3600)
    ThreadingHTTPServer.allow_reuse_port = False
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


main()
