"""An OpenAI-compatible server that misbehaves on demand; standard library only.

python fake_server.py '{"option": value}' vllm serve FOLDER ... --served-model-name N --port P

It speaks as vLLM 0.32 does, or as SGLang 0.5.23 where it is started with --model-path: what is
listed, which names are answered and how an adapter is asked was recorded from the real ones. Its
log-probabilities follow from the folder whose weights answer, the prompt, and whether that is cached.
"""

from __future__ import annotations

import hashlib
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
    if "--api-key" in COMMAND:
        return flag("--api-key")
    return os.environ.get("VLLM_API_KEY") or os.environ.get("HARNESS_SGLANG_KEY")


KEY = own_key()
SGLANG = "--model-path" in COMMAND


def folder() -> str:
    """What it was started on."""
    if SGLANG:
        return flag("--model-path")
    return COMMAND[COMMAND.index("serve") + 1] if "serve" in COMMAND else ""


def adapters() -> dict[str, str]:
    """LoRA adapters by name: their folders."""
    option, name, path = ("--lora-paths", "lora_name", "lora_path") if SGLANG else (
        "--lora-modules", "name", "path")  # fmt: skip
    rest = COMMAND[COMMAND.index(option) + 1 :] if option in COMMAND else []
    rows = [json.loads(word) for word in rest if word.startswith("{")]
    return {row[name]: row[path] for row in rows}


def models() -> list[dict[str, Any]]:
    """The entries of /v1/models."""
    name = OPTIONS.get("model", flag("--served-model-name"))
    root = OPTIONS.get("root", name if SGLANG else folder())
    own = {"id": name, "object": "model", "owned_by": "sglang" if SGLANG else "vllm", "root": root,
           "parent": None, "max_model_len": 512}  # fmt: skip
    told = OPTIONS.get("adapter_roots", {})
    parent = OPTIONS.get("parent", name)
    return [own, *({**own, "id": each, "root": told.get(each, path), "parent": parent,
                    "max_model_len": None} for each, path in adapters().items())]  # fmt: skip


def answered_by(model: str) -> tuple[str, str] | None:
    """Whose weights answer a request for a model, by folder, and whose cache they use; None: it
    is refused."""
    base, name = flag("--served-model-name"), model
    if SGLANG:
        name = model.removeprefix(f"{base}:") if ":" in model else base
    if name in OPTIONS.get("as_base", ()) or (OPTIONS.get("any_name") and name not in adapters()):
        name = base
    if name != base and name not in adapters():
        return None
    found = folder() if name == base else adapters()[name]
    return OPTIONS.get("answers_of", {}).get(found, found), name


CACHED: set[tuple[str, str]] = set()


def logprobs(weights: str, cache: str, prompt: str) -> list[dict[str, Any]]:
    """Tokens with their log-probabilities; in the last digits those of a cached prompt differ."""
    warm = (cache, prompt) in CACHED
    CACHED.add((cache, prompt))
    rows = []
    for place in range(4):
        digest = hashlib.sha256(f"{weights} {prompt} {place}".encode()).digest()
        first = -digest[0] / 256 + (1e-6 if warm else 0.0)
        other = {"token": "b", "logprob": first - 1, "bytes": [98]}
        token = {"token": "a", "logprob": first, "bytes": [97]}
        rows.append({**token, "top_logprobs": [token, other]})
    return rows


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
            if self.path == "/v1/models":
                self.reply(200, {"object": "list", "data": models()})
            elif SGLANG and self.path == OPTIONS.get("info", "/model_info"):
                path = OPTIONS.get("model_path", folder())
                self.reply(200, {"model_path": path, "served_model_name": models()[0]["id"]})
            else:
                self.reply(404, {"detail": "Not Found"})

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
            by = answered_by(asked["model"])
            if by and by[1] == OPTIONS.get("die_for"):
                os._exit(7)
            if by is None:
                told = f"The model `{asked['model']}` does not exist."
                self.reply(400 if SGLANG else 404, {"error": {"message": told}})
                return
            message = {"role": "assistant", "content": answer(asked["messages"])}
            self.reply(
                code,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": asked.get("model"),
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": message,
                            "logprobs": self.logprobs(asked, *by),
                        }
                    ],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
                },
            )

    def logprobs(self, asked: dict[str, Any], weights: str, cache: str) -> dict[str, Any] | None:
        if not asked.get("logprobs"):
            return None
        return {"content": logprobs(weights, cache, json.dumps(asked["messages"]))}


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
    host = flag("--host") if "--host" in COMMAND else "127.0.0.1"
    if ":" in host:
        ThreadingHTTPServer.address_family = socket.AF_INET6
    ThreadingHTTPServer((host, port), Handler).serve_forever()


main()
