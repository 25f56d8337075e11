"""Which blocks of a template belong to turns of weight 0."""

from __future__ import annotations

from typing import Any

import pytest

from harness.chats.rows import RowProblem
from harness.chats.weights import untrained_spans, weight_of

TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "weight": 0},
    {"role": "user", "content": "R"}, {"role": "assistant", "content": "B", "weight": 1},
]  # fmt: skip


def answers(turns: list[Any]) -> list[str]:
    return [turn["content"] for turn in turns if turn["role"] == "assistant"]


def test_each_block_is_found_by_its_turn() -> None:
    assert untrained_spans(TURNS, 2, answers) == {0}
    assert untrained_spans(TURNS[2:], 1, answers) == set()


@pytest.mark.parametrize(
    "render",
    [lambda turns: ["".join(answers(turns))], lambda turns: [*answers(turns), "more"],
     lambda turns: ["x", "y"]],
    ids=["one block", "more blocks", "no content"],
)  # fmt: skip
def test_blocks_that_are_not_one_a_turn_are_refused(render: Any) -> None:
    with pytest.raises(RowProblem, match="cannot be honoured"):
        untrained_spans(TURNS, 2, render)


def test_weights_are_0_or_1() -> None:
    assert [weight_of({"weight": w}) for w in (None, 0, 1, 0.0, False)] == [1, 0, 1, 0, 0]
    for odd in (2, "0", 0.5):
        with pytest.raises(RowProblem):
            weight_of({"weight": odd})
