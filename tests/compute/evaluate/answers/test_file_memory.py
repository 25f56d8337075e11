"""Answers are not kept in memory: many more of them take hardly more."""

from __future__ import annotations

import pytest

from tests.benchmarks.memory import measure

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("math_verify", reason="needs the extra `eval`")


def test_ten_times_the_answers_take_hardly_more_memory() -> None:
    few, many = measure(500, 20_000, 300), measure(5000, 20_000, 300)
    assert many["answers_on_disk_mb"] > 95
    # In memory the answers would be 90 MB more, and as Python objects more than that. What a
    # chunk of 1000 holds (20 MB and its graded lines) is allowed for.
    assert many["grade_mb"] - few["grade_mb"] < 70
