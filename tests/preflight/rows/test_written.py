"""Turns written as JSON are read as Arrow would have them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from harness.preflight.rows.written import written_turns

TURNS: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "one"}]},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}], "thinking": None},
]
READ = [
    {"role": "user", "content": "one", "tool_calls": None},
    {"role": "assistant", "content": "", "tool_calls": ["call"]},
]


@pytest.mark.parametrize("whole", [True, False], ids=["the list is JSON", "each turn is"])
def test_json_of_either_form(whole: bool) -> None:
    if whole:
        column = pa.array([json.dumps(TURNS), None]).cast(pa.json_())
    else:
        texts = pa.array([list(map(json.dumps, TURNS)), None], pa.list_(pa.string()))
        column = texts.cast(pa.list_(pa.json_()))
    assert written_turns(column).to_pylist() == [READ, None]


def test_other_columns_stay_as_they_are() -> None:
    column = pa.array([[{"role": "user", "content": "x"}]])
    assert written_turns(column) is column
