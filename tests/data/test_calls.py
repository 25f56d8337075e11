"""Tools and arguments come back as they were."""

from __future__ import annotations

from typing import Any

import pytest

from harness.data.calls import as_json, parsed, to_tools
from harness.data.tally import BadRow, Note

TOOL = {"name": "add", "parameters": {"city": None}}


@pytest.mark.parametrize(
    "value", [[TOOL], TOOL, '[{"name": "add", "parameters": {"city": null}}]', [str(TOOL)]]
)
def test_tools_of_every_form(value: Any) -> None:
    assert to_tools(value, "tools", set()) == [TOOL]


def test_functions_of_the_first_interface_are_wrapped_and_nothing_is_none() -> None:
    notes: set[Note] = set()
    assert to_tools([TOOL], "functions", notes) == [{"type": "function", "function": TOOL}]
    assert notes == {("renamed", "functions -> tools")}
    assert [to_tools(nothing, "tools", set()) for nothing in (None, "", "[]", [])] == [[]] * 4


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "cannot be kept as JSON"),
        ({"a": [2**70]}, "a whole number of more than 64 bits"),
        ({"a": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_datasets_would_not_read_back_is_told(value: Any, words: str) -> None:
    with pytest.raises(BadRow, match=words):
        as_json(value, "x")
    assert as_json({"a": 2**63, "b": "12345678901234567890123"}, "x")


def test_a_cell_as_pandas_writes_it_is_read_and_code_is_not_run() -> None:
    assert parsed("[{'a': None}]") == [{"a": None}]
    for text in ("__import__('os')", "[", "(" * 5000, "a b"):
        with pytest.raises(ValueError, match=r"Expecting|Extra"):
            parsed(text)
