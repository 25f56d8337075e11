"""What a judge is shown: each turn's answer without its thoughts, and two messages a call."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compute.evaluate.judge.calls import Call, shown_answers


@pytest.mark.parametrize(
    ("row", "turns", "shown"),
    [
        ({"generation": "one"}, 1, ["one"]),
        ({"generation": "<think>hm\n</think>\none"}, 1, ["\none"]),
        ({"generation": "<think>cut off"}, 1, ["<think>cut off"]),
        ({"generation": "one</think>two"}, 1, ["one</think>two"]),
        ({"generations": ["<think>a</think>1", "<think>b</think>2"]}, 2, ["1", "2"]),
        # The answers of the turns count, where both are there.
        ({"generation": "whole", "generations": ["1", "2"]}, 2, ["1", "2"]),
    ],
)
def test_the_answers_are_shown_without_a_leading_think_block(
    row: dict[str, Any], turns: int, shown: list[str]
) -> None:
    assert shown_answers(row, turns) == shown


@pytest.mark.parametrize(
    ("row", "turns", "shown"),
    [
        ({"error": "Timeout: late"}, 2, ["", ""]),
        ({"generation": None}, 1, [""]),
        ({"generations": ["1"]}, 2, ["1", ""]),
        ({"generations": [], "generation": ""}, 2, ["", ""]),
        ({"generations": ["1", "2", "3"]}, 2, ["1", "2"]),
    ],
)
def test_there_is_one_answer_a_turn_empty_where_none_came(
    row: dict[str, Any], turns: int, shown: list[str]
) -> None:
    assert shown_answers(row, turns) == shown


def test_a_call_is_the_rule_and_the_question_as_they_are() -> None:
    call = Call("arena/1", "gen-base", 'Be "fair".\n', "{question} ü \u2028")
    assert call.messages == [
        {"role": "system", "content": 'Be "fair".\n'},
        {"role": "user", "content": "{question} ü \u2028"},
    ]
