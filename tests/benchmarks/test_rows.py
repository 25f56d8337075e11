"""Rows of JSON by line: what one is, and how what is none is told."""

from __future__ import annotations

import pytest

from harness.benchmarks.rows import json_rows, text_problem, wrong_shape
from harness.errors import SourceError, UserError


def test_rows_come_with_their_lines_and_empty_lines_count() -> None:
    lines = ['\ufeff{"a": 1}\n'.encode(), b"\n", b"  \r\n", '{"b": "é\u2028"}'.encode()]
    assert list(json_rows(lines, "f")) == [(1, {"a": 1}), (4, {"b": "é\u2028"})]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{torn", "f:2: not JSON: "),
        (b"5", "f:2: an object is expected"),
        (b"\xff", "f:2: not UTF-8 text (byte 1 of the line)"),
        (b'{"a": Infinity}', "f:2: not JSON: Infinity is no number of JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "f:2: not JSON: "),
        (b"[" * 100_000, "f:2: not JSON that can be read: nested too deeply"),
    ],
    ids=["torn", "number", "bytes", "infinity", "digits", "deep"],
)
def test_what_is_no_row_is_told_with_its_line(line: bytes, words: str) -> None:
    for error in (SourceError, UserError):
        with pytest.raises(error) as caught:
            list(json_rows([b"{}", line], "f", error))
        assert str(caught.value).startswith(words)


def test_text_is_text_that_can_be_written() -> None:
    item = {"a": "x", "b": None, "c": 5, "d": "\ud800"}
    assert text_problem(item, "a") == ""
    assert text_problem(item, "a", "b") == text_problem({}, "b") == "b is missing; text is expected"
    assert text_problem(item, "c") == "c is int; text is expected"
    assert text_problem(item, "d").startswith("d has half of a surrogate pair")


def test_a_shape_is_told_by_the_field_that_is_not_there() -> None:
    assert wrong_shape(KeyError("answer")) == "no field 'answer'"
    assert wrong_shape(ValueError("odd")) == "odd"
    assert wrong_shape(IndexError()) == "IndexError"
