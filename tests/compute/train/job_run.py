"""A real training job of two processes on CPU, as a run folder starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from tests.support import ROOT

PROJECT = ROOT
TEMPLATE = PROJECT / "templates" / "chat" / "qwen3_nonthinking.jinja"


def make_run(folder: Path, inputs: Path, **changes: Any) -> RunPaths:
    train = {
        "model_name": str(inputs / "model"),
        "dataset_name": str(inputs / "data"),
        "chat_template_path": "templates/chat/qwen3_nonthinking.jinja",
        "max_length": 64,
        "max_steps": 4,
        "save_steps": 2,
        "warmup_steps": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "logging_steps": 1,
        "use_cpu": True,
        **changes,
    }
    paths = RunPaths(folder / "tiny" / "20260101-000000-abcd")
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.spec.write_text(yaml.safe_dump({"name": "tiny", "train": train}), encoding="utf-8")
    return paths


def start(paths: RunPaths, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.compute.train.job", str(paths.root)],
        cwd=PROJECT, env={**os.environ, **env}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(job: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = job.communicate(timeout=600)
    finally:
        job.kill()
    return job.returncode, output


def train(paths: RunPaths, **env: str) -> tuple[int, str]:
    return finish(start(paths, **env))


def state(paths: RunPaths) -> dict[str, Any]:
    value = read_json(paths.train_state)
    assert isinstance(value, dict)
    return value


def log_steps(paths: RunPaths) -> list[int]:
    return [json.loads(line)["step"] for line in paths.train_log.read_text().splitlines()]


def wait_for(
    condition: Callable[[], bool], job: subprocess.Popen[str], seconds: float = 600
) -> None:
    """Until a condition holds; the job that never gets there is killed, and with it its workers."""
    end = time.monotonic() + seconds
    try:
        while not condition():
            assert job.poll() is None, finish(job)[1]
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
    except BaseException:
        job.kill()
        raise


def signal_everyone(job: subprocess.Popen[str], number: signal.Signals) -> None:
    """As Slurm does: the job, the launcher, the workers, all at once."""
    job_process = psutil.Process(job.pid)
    for process in [job_process, *job_process.children(recursive=True)]:
        process.send_signal(number)
