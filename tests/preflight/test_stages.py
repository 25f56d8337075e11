"""A slow check says what it does; a quick one is silent."""

from __future__ import annotations

import time

from harness.preflight.stages import Stages


def test_only_a_slow_check_is_heard() -> None:
    lines: list[str] = []
    with Stages(lines.append, patience=5) as progress:
        progress.stage("quick")
    assert lines == []
    with Stages(lines.append, patience=0.01) as progress:
        progress.stage("rows")
        deadline = time.monotonic() + 5
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)
        progress.stage("memory")
    progress.stage("after the end")
    assert lines == ["checking: rows", "checking: memory"]
