"""What a check found, as a person reads it: how bad, where, what, and the cure below it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.preflight.findings import Finding, error, note, warning


def test_a_finding_reads_level_place_message_and_the_cure_on_a_line_of_its_own() -> None:
    found = error("train.model_name", "no such folder", "Give one that is there")
    assert str(found) == "error: train.model_name: no such folder\n  Give one that is there"
    assert str(warning("MODEL", "half of it")) == "warning: MODEL: half of it"
    assert str(note("MODEL", "a note")) == "note: MODEL: a note"


@pytest.mark.parametrize(
    ("found", "level"),
    [(error("p", "m"), "error"), (warning("p", "m"), "warning"), (note("p", "m"), "note")],
)
def test_each_word_makes_its_level_without_a_cure(found: Finding, level: str) -> None:
    assert (found.level, found.place, found.message, found.cure) == (level, "p", "m", "")


def test_quotes_braces_and_other_alphabets_are_shown_as_they_are() -> None:
    place, text = "--lora a'b", 'the file "ü {x} %s" 模型'
    assert str(error(place, text)) == f"error: {place}: {text}"


def test_a_level_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError, match="level"):
        Finding(level="fatal", place="p", message="m")  # type: ignore[arg-type]


def test_a_finding_does_not_change_and_equals_another_of_the_same_words() -> None:
    found = error("p", "m", "c")
    with pytest.raises(ValidationError, match="frozen"):
        found.level = "note"  # type: ignore[misc]
    assert found == error("p", "m", "c") != error("p", "m")
    moved = found.model_copy(update={"place": "elsewhere"})
    assert (found.place, str(moved)) == ("p", "error: elsewhere: m\n  c")
