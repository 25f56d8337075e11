"""ifeval: Google's checkers, strict and loose, without network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from harness.compute.evaluate.graders import instructions_following as ifeval
from harness.compute.evaluate.graders.instructions_following import InstructionGrader
from harness.errors import EvaluationError

_PACKAGES = ("lm_eval", "langdetect", "nltk", "immutabledict")
_MISSING = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")


def _item(instruction: str, **kwargs: Any) -> dict[str, Any]:
    return {"prompt": "Do it.", "instruction_id_list": [instruction], "kwargs": [kwargs]}


def _grade(item: dict[str, Any], response: str) -> tuple[bool, bool]:
    (row,) = InstructionGrader().grade([item], [response])
    return row["strict_eval"]["follow_all_instructions"], row["loose_eval"][
        "follow_all_instructions"
    ]


def test_the_loose_texts_are_eight() -> None:
    assert ifeval.loosened("a\n*b*\nc") == [
        "a\n*b*\nc",
        "*b*\nc",
        "a\n*b*",
        "*b*",
        "a\nb\nc",
        "b\nc",
        "a\nb",
        "b",
    ]


@pytest.mark.parametrize(
    ("response", "strict", "loose"),
    [
        ('{"a": 1}', True, True),
        ('Sure:\n{"a": 1}', False, True),
        ('Sure:\n**{"a": 1}**\nBye', False, True),
        ("Sure", False, False),
        ("", False, False),
        (" \n", False, False),
        ('<think>x</think>{"a": 1}', True, True),
        ('<think>x {"a": 1}', False, False),
    ],
)
def test_introductions_fail_strict_and_pass_loose(response: str, strict: bool, loose: bool) -> None:
    assert _grade(_item("detectable_format:json_format"), response) == (strict, loose)


@pytest.mark.parametrize("length", [15_000, pytest.param(30_000, marks=pytest.mark.long)])
def test_a_response_that_breaks_a_checker_is_wrong_and_costs_no_other(
    length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ifeval._tell.cache_clear()
    item = _item("detectable_format:json_format")
    rows = InstructionGrader().grade([item] * 3, ['{"a": 1}', "[" * length, '{"b": 2}'])
    assert [row["strict_eval"]["follow_all_instructions"] for row in rows] == [True, False, True]
    assert [row["loose_eval"]["follow_instruction_list"] for row in rows] == [
        [True], [False], [True],
    ]  # fmt: skip
    if length < ifeval._SHORT:
        assert "JsonFormat breaks on a response (RecursionError)" in capsys.readouterr().err


@pytest.mark.long
def test_a_long_response_is_checked_as_a_short_one_is() -> None:
    text = "no such thing " * 2_000
    assert len(text) > ifeval._SHORT
    assert _grade(_item("punctuation:no_comma"), text) == (True, True)
    assert _grade(_item("punctuation:no_comma"), text + ",") == (False, False)


@pytest.mark.long
def test_a_response_that_takes_hours_to_check_is_wrong_after_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ifeval, "_LONG_LIMIT_S", 1.0)
    placeholders = _item("detectable_content:number_placeholders", num_placeholders=1)
    rows = InstructionGrader().grade(
        [placeholders, _item("punctuation:no_comma")], ["[" * 400_000, "fine"]
    )
    assert [row["strict_eval"]["follow_all_instructions"] for row in rows] == [False, True]
    assert "no answer within" in capsys.readouterr().err


def test_an_empty_response_fails_even_a_prohibition() -> None:
    assert _grade(_item("punctuation:no_comma"), "") == (False, False)


@pytest.mark.parametrize(("count", "followed"), [(4, True), (3, False)])
def test_a_character_that_is_no_letter_is_counted_itself(count: int, followed: bool) -> None:
    item = _item("keywords:letter_frequency", letter="#", let_relation="at least", let_frequency=4)
    for _ in range(5):  # lm-eval's copy draws a letter at random
        assert _grade(item, "eeeeeeeeeeeeeeeeeeee " + "#" * count) == (followed, followed)


def test_arguments_that_are_null_are_left_out_and_zero_is_kept() -> None:
    item = _item("keywords:frequency", keyword="cat", frequency=0, relation="at least", letter=None)
    assert _grade(item, "no such word") == (True, True)


@pytest.mark.long
def test_languages_are_detected_alike_each_time() -> None:
    item = _item("language:response_language", language="de")
    text = "ja nein ok na"
    assert len({_grade(item, text) for _ in range(20)}) == 1


def test_an_unknown_instruction_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="nonsense:x"):
        _grade(_item("nonsense:x"), "text")


def test_missing_punkt_is_an_error_only_where_an_instruction_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.delenv("NLTK_DATA", raising=False)
    assert _grade(_item("punctuation:no_comma"), "none") == (True, True)
    item = _item("length_constraints:number_sentences", num_sentences=1, relation="at least")
    with pytest.raises(EvaluationError, match="NLTK_DATA"):
        _grade(item, "One.")


@pytest.mark.long
def test_the_checkers_come_without_the_rest_of_lm_eval() -> None:
    code = (
        "import sys; from harness.compute.evaluate.graders.instructions_following import "
        "load_checkers; assert len(load_checkers(needs_punkt=False)) == 25; "
        "print([m for m in ('datasets', 'torch', 'evaluate', 'lm_eval') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
