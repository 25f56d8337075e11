"""`tests/gpu/run.sh` at toy size: each part runs, and what a CPU can decide is as it should be."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_script_for_a_gpu_runs_whole_on_a_cpu() -> None:
    for module in ("trl", "aiohttp", "math_verify"):
        pytest.importorskip(module, reason="needs the extras `train` and `eval`")
    done = subprocess.run(
        ["bash", "tests/gpu/run.sh", "--cpu"],
        cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True,
        timeout=1400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.partition("CPU, toy size")[2].splitlines()[3:]
    words = {re.split(r"  +", line)[0]: re.split(r"  +", line)[-1] for line in lines}
    judged = {what for what, word in words.items() if word == "ok"}
    unjudged = {what for what, word in words.items() if word == "not judged"}
    assert len(judged) == 5
    assert {"USR2, and the job again", "weights, resumed - uninterrupted"} < judged
    assert {"steps/s, ours / bare TRL", "memory, check's estimate / peak", "all of it"} < unjudged
    assert len(words) == len(judged) + len(unjudged) == 11
