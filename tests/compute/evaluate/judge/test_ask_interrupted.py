"""A job that is killed or told to stop while it asks: what is paid for is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import ROOT

from .judge_server import KEY, judging, longer_wins
from .judged_cell import VARIABLE, cell, judge_spec, kept, run

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")

_CHILD = """
import json, sys
from pathlib import Path
from tests.compute.evaluate.judge.judged_cell import JudgeSpec, cell, run
spec = JudgeSpec.model_validate(json.loads(sys.argv[3]))
run(cell(Path(sys.argv[1]), Path(sys.argv[2]), spec))
"""


def test_killed_in_the_middle_it_pays_for_nothing_twice(tmp_path: Path, benchmarks: Path) -> None:
    killed = threading.Event()
    with judging(longer_wins) as server:
        spec = judge_spec(server, concurrency=1)

        def kill_at_the_seventh(number: int) -> bool:
            if number == 7:
                child.send_signal(signal.SIGKILL)
                killed.set()
            return number == 7

        server.before = kill_at_the_seventh
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path), str(benchmarks), spec.model_dump_json()],
            cwd=ROOT, env={**os.environ, VARIABLE: KEY},
        )  # fmt: skip
        assert child.wait(60) == -signal.SIGKILL and killed.wait(10)
        server.before = None
        work = cell(tmp_path, benchmarks, spec)
        assert len(kept(work)) == len(server.answered) == 6
        assert run(work)["num_entries"] == 6
    assert len(server.answered) == 12
    assert max(Counter(server.prompts()).values()) == 1


@pytest.mark.parametrize("signals", [1, 3])
def test_told_to_stop_it_takes_home_what_is_under_way(
    tmp_path: Path, benchmarks: Path, signals: int
) -> None:
    with judging(longer_wins, delay_s=2.0) as server:
        spec = judge_spec(server)
        child = subprocess.Popen(
            [sys.executable, "-c", "import signal\n"
             "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + _CHILD,
             str(tmp_path), str(benchmarks), spec.model_dump_json()],
            cwd=ROOT, env={**os.environ, VARIABLE: KEY},
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while len(server.seen) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(signals):  # a requeue sends TERM after the USR2
            child.terminate()
            time.sleep(0.2)
        assert child.wait(30) == 143
        work = cell(tmp_path, benchmarks, spec)
        assert len(kept(work)) == len(server.answered) == len(server.seen) == 5
        run(work)
    assert len(server.answered) == 12
