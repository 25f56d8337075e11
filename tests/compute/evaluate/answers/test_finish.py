"""Words by which completions end, of many servers."""

from __future__ import annotations

import pytest

from harness.compute.evaluate.answers.finish import ending, gravest


@pytest.mark.parametrize("word", ["stop", "eos_token", "end_turn", "STOP", "tool_calls", "", None])
def test_an_answer_that_ended_by_itself_is_whole(word: str | None) -> None:
    assert ending(word) == "whole"


@pytest.mark.parametrize("word", ["length", "max_tokens", "LENGTH"])
def test_an_answer_that_was_too_long_is_cut(word: str) -> None:
    assert ending(word) == "cut"


@pytest.mark.parametrize("word", ["abort", "error", "content_filter", "cancelled", "what?"])
def test_every_other_word_is_told(word: str) -> None:
    assert ending(word) == "aborted"


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        (["stop"], "stop"),
        ([None, "stop"], "stop"),
        (["stop", None], None),
        (["length", "stop"], "length"),
        (["abort", "length", "stop"], "abort"),
    ],
)
def test_of_several_turns_the_gravest_counts(turns: list[str | None], told: str | None) -> None:
    assert gravest(turns) == told
