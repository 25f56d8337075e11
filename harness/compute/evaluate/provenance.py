"""Where a number comes from: versions of what made it, and what its GPUs were busy with."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from harness.compute.serve.server import RunningServer
from harness.config.engines import ENGINES, EngineKind
from harness.errors import CommandError, HarnessError
from harness.processes.shell import tethered

_TIMEOUT_S = 30.0
PHASES = ("start", "generate", "grade")


def engine_version(
    engine: str, server: RunningServer, wrap: Callable[[list[str]], list[str]] = list
) -> str:
    """The running engine's version: the server is asked, else the Python of its environment.

    `wrap` puts a command into the environment that the server was started in. Empty where neither
    tells: an unknown version is no reason to lose answers.
    """
    kind = ENGINES[engine]
    return _told_by_server(kind, server) or _told_by_package(kind.package, wrap)


def _told_by_server(kind: EngineKind, server: RunningServer) -> str:
    if not kind.version_path:
        return ""
    url = server.base_url.removesuffix("/v1") + kind.version_path
    headers = {"Authorization": f"Bearer {server.api_key}"}
    try:
        answer = httpx.get(url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
        told = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return ""
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else ""


def _told_by_package(package: str, wrap: Callable[[list[str]], list[str]]) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    try:
        return tethered(wrap(["python", "-c", code]), timeout=_TIMEOUT_S).strip().splitlines()[-1]
    except (CommandError, HarnessError, OSError, IndexError):
        return ""


def versions() -> dict[str, str]:
    """Of this package and of Python."""
    import harness

    return {
        "harness": harness.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def template_sha256(model: Path, given: str | None) -> str:
    """Of the chat template that a model is served with: the given file's, else the model's own.

    Empty where the model has none in a file of its own.
    """
    file = Path(given) if given else model / "chat_template.jinja"
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def gpu_seconds(seconds: Mapping[str, float], gpus: int) -> dict[str, Any]:
    """GPU seconds of one cell by phase, `idle` included.

    While a cell is graded its GPUs are held, and counted, too; judging in a job of its own holds
    none.
    """
    parts = {phase: seconds.get(phase, 0.0) for phase in (*PHASES, "idle")}
    return {"gpus": gpus, **{phase: round(s * gpus, 2) for phase, s in parts.items()}}


def idle_seconds(task_seconds: float, task_spent: float, cells: int) -> float:
    """One cell's share of the seconds that its task spent on none of its cells."""
    return max(task_seconds - task_spent, 0.0) / cells
