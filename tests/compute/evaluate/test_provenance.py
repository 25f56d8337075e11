"""Where a number comes from: versions asked of real HTTP servers, GPU seconds, templates."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.provenance import (
    engine_version,
    gpu_seconds,
    idle_seconds,
    template_sha256,
)
from harness.runs.metrics import read_task

from .test_cell import finish, right, work

__all__ = ["work"]


@contextmanager
def telling(path: str, body: Any, code: int = 200) -> Iterator[Any]:
    """A server that answers one path, to whoever has the key."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_GET(self) -> None:
            known = self.path == path and self.headers["Authorization"] == "Bearer k"
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(code if known else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield SimpleNamespace(base_url=f"http://127.0.0.1:{http.server_port}/v1", api_key="k")
    finally:
        http.shutdown()
        http.server_close()


@pytest.mark.long
def test_the_running_engine_is_asked_for_its_version() -> None:
    with telling("/version", {"version": "0.32.0"}) as server:
        assert engine_version("vllm", server) == "0.32.0"
    with telling("/get_server_info", {"version": "0.5.23", "model_path": "m"}) as server:
        assert engine_version("sglang", server) == "0.5.23"


@pytest.mark.long
def test_else_the_engines_environment_is_asked_and_else_it_is_unknown() -> None:
    with telling("/nothing", {}) as server:
        assert engine_version("transformers", server) == metadata.version("transformers")
        assert engine_version("vllm", server, lambda argv: ["false", *argv]) == ""
    for body in ("<html>", "[]", {"version": 3}):
        with telling("/version", body) as server:
            assert engine_version("vllm", server, lambda argv: ["false", *argv]) == ""


def test_gpu_seconds_are_those_of_all_phases_that_hold_gpus() -> None:
    spent = {"start": 10.0, "generate": 50.0, "grade": 5.0, "judge": 900.0, "idle": 10.0}
    assert gpu_seconds(spent, gpus=8) == {
        "gpus": 8, "start": 80.0, "generate": 400.0, "grade": 40.0, "idle": 80.0,
    }  # fmt: skip


def test_what_a_task_spent_on_no_cell_is_shared() -> None:
    assert idle_seconds(task_seconds=105.0, task_spent=85.0, cells=2) == 10.0
    assert idle_seconds(1.0, 2.0, 1) == 0.0


@pytest.mark.long
def test_a_result_carries_its_origin(work: CellWork, tmp_path: Path) -> None:
    mine = replace(work, template_sha256="t", engine_version=lambda server: "9.9")
    assert finish(mine, right(mine)) == "ok"
    mine.server_facts = {"engine_version": "9.9", "served_as": "m"}
    mine.account(task_seconds=100.0, task_spent=40.0, cells=1)
    record = read_task(mine.paths)
    assert record is not None
    facts = record.facts
    assert record.started and record.ended
    assert facts["backend"] == "builtin"
    assert (facts["items"], facts["items_of_benchmark"], facts["repeats"]) == (4, 200, 1)
    assert facts["sampling"]["seed"] == 0 and "1000003" in facts["seed_rule"]
    assert len(facts["prompts_sha256"]) == 64
    assert facts["template_sha256"] == "t"
    assert facts["versions"].keys() == {
        "harness", "python", "aiohttp", "math-verify", "latex2sympy2_extended",
        "antlr4-python3-runtime", "sympy",
    }  # fmt: skip
    assert facts["concurrency"] == mine.evaluation.concurrency
    gpus = facts["gpu_seconds"]["gpus"]
    assert facts["gpu_seconds"]["idle"] == 60.0 * gpus


@pytest.mark.parametrize("given", [True, False])
def test_the_template_that_is_served_is_hashed(tmp_path: Path, given: bool) -> None:
    (tmp_path / "chat_template.jinja").write_text("own")
    (tmp_path / "given.jinja").write_text("given")
    own = template_sha256(tmp_path, None)
    assert template_sha256(tmp_path, str(tmp_path / "given.jinja")) != own
    assert template_sha256(tmp_path / "none", None) == ""
    assert len(own) == 64
