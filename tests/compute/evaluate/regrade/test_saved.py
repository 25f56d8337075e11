"""A file of saved answers: every row with its place, and one message for a line that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.regrade.saved import SavedAnswers, response_of
from harness.errors import UserError


def saved(folder: Path, content: bytes) -> Path:
    path = folder / 'it\'s "mine" ü.jsonl'
    path.write_bytes(content)
    return path


def test_each_row_comes_with_its_line_and_blank_lines_are_none(tmp_path: Path) -> None:
    path = saved(tmp_path, b'\n{"id": 1}\n  \t\r\n{"id": 2}\r\n{"id": 3}')
    answers = SavedAnswers(path)
    assert len(answers) == 3
    assert list(answers.rows()) == [
        (f"{path}:2", {"id": 1}),
        (f"{path}:4", {"id": 2}),
        (f"{path}:5", {"id": 3}),
    ]
    assert list(answers.rows()) == list(answers.rows())  # as often as it is asked


@pytest.mark.parametrize("content", [b'{"id": 1}\n', b'\n{"id": 1}\n'])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, content: bytes) -> None:
    ((_, row),) = SavedAnswers(saved(tmp_path, b"\xef\xbb\xbf" + content)).rows()
    assert row == {"id": 1}


def test_line_ends_inside_a_text_do_not_cut_a_row(tmp_path: Path) -> None:
    row = '{"response": "a \u2028 b \x85 c"}\n'.encode()
    ((_, found),) = SavedAnswers(saved(tmp_path, row)).rows()
    assert found == {"response": "a \u2028 b \x85 c"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{torn", "not JSON: "),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[1, 2]", "an object is expected"),
        (b"null", "an object is expected"),
        (b'"text"', "an object is expected"),
        (b"[" * 100_000, "not JSON: "),  # deeper than the parser goes
    ],
)
def test_a_line_that_is_no_row_is_told_by_file_and_line(
    tmp_path: Path, line: bytes, what: str
) -> None:
    path = saved(tmp_path, b'{"id": 1}\n\n' + line + b'\n{"id": 2}\n')
    with pytest.raises(UserError) as caught:
        SavedAnswers(path)
    assert str(caught.value).startswith(f"{path}:3: {what}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_a_row_is_told(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(UserError) as caught:
        SavedAnswers(path)
    assert str(caught.value) == f"{path}: no answers in it"


def test_what_cannot_be_opened_is_told_with_the_reason(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.jsonl", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=f"^{path}: cannot be read: .*{reason}"):
            SavedAnswers(path)


@pytest.mark.parametrize(
    ("row", "response"),
    [
        ({"response": "a"}, "a"),
        ({"generation": "a", "response": "b"}, "a"),  # our own name, and NeMo-Skills', first
        ({"generation": "", "response": "b"}, ""),
        ({"generation": None}, ""),
        ({"response": None, "error": "Timeout"}, ""),
        ({"id": "gsm8k/1", "error": "Timeout"}, None),  # no answer is not an empty answer
    ],
)
def test_the_answer_of_a_row(row: dict[str, Any], response: str | None) -> None:
    assert response_of(row, "a.jsonl:1") == response


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({}, "neither `response` nor `generation` in it"),
        ({"answer": "a"}, "neither `response` nor `generation` in it"),
        ({"response": ["a"]}, "response is list; text is expected"),
        ({"generation": 5, "response": "a"}, "generation is int; text is expected"),
        ({"generation": False}, "generation is bool; text is expected"),
    ],
)
def test_a_row_without_an_answer_is_told(row: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError) as caught:
        response_of(row, "a.jsonl:7")
    assert str(caught.value) == f"a.jsonl:7: {what}"
