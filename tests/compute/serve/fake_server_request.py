"""A request for the small server that misbehaves on demand, and what waits for its processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from harness.compute.serve import ServeRequest

FAKE = Path(__file__).with_name("fake_server.py")


def request(
    folder: Path, *, engine: str = "vllm", preferred: int | None = None, host: str = "127.0.0.1",
    adapters: dict[str, str] | None = None, **options: Any,
) -> ServeRequest:  # fmt: skip
    return ServeRequest(
        engine=engine,
        model="/models/checkpoint-500",
        served_name="run/checkpoint-500@0123abcd",
        preferred_port=preferred,
        host=host,
        lora_adapters=adapters or {},
        ready_timeout_s=20,
        wrap=lambda argv: [sys.executable, str(FAKE), json.dumps(options), *argv],
        log_path=folder / "logs" / "server.log",
    )


def gone(pid: int, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def wait_for(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
