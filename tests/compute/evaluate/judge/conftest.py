"""What judged cells start from: the benchmarks' real data, and the judge's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.benchmarks.prepare import prepare
from tests.support import shared_data

from .judge_server import KEY
from .judged_cell import VARIABLE

DATA = shared_data()


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("aiohttp", reason="needs the extra `eval`")
    if DATA is None:
        pytest.skip("the shared benchmark data is not beside the repository")
    folder = tmp_path_factory.mktemp("benchmarks")
    for name in ("mt-bench", "arena-hard"):
        prepare(name, folder, DATA)
    return folder


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
