"""`weight: 0` of a turn: the convention of OpenAI's fine-tuning format for "not trained"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.chats.rows import RowProblem

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Of Unicode's private use area: no template treats them in its own way."""


def weight_of(turn: Any) -> float:
    """The weight of a turn, 1 without one. Raises RowProblem for another than 0 and 1."""
    value = turn.get("weight") if isinstance(turn, Mapping) else None
    if value is None:
        return 1.0
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise RowProblem(f"weight {value!r}: only 0 and 1 are known")
    return float(value)


def untrained_spans(
    turns: Sequence[Any], spans: int | None, render: Callable[[list[Any]], list[str]]
) -> set[int]:
    """Which generation blocks, by number, are of turns with `weight: 0`.

    `spans` is their number, None where everything is trained; `render` gives the text of each for
    other turns. Every answer is given a tag, and the block that holds it is its own. Raises
    RowProblem where they cannot be told apart.
    """
    answers = [isinstance(turn, Mapping) and turn.get("role") == "assistant" for turn in turns]
    weighed = [weight_of(turn) for turn in turns]
    zero = {i for i, answer in enumerate(answers) if answer and weighed[i] == 0}
    if not zero:
        return set()
    if spans is None:
        raise RowProblem("weight: 0 is honoured only with assistant_only_loss")
    tags = {i: f"{_OPEN}{i}{_CLOSE}" for i, answer in enumerate(answers) if answer}
    blocks = render([_tagged(turn, tags.get(i)) for i, turn in enumerate(turns)])
    owners = [{i for i, tag in tags.items() if tag in block} for block in blocks]
    if len(blocks) != spans or any(len(owner) != 1 for owner in owners):
        raise RowProblem("weight: 0 cannot be honoured: the template's blocks are not one a turn")
    return {number for number, owner in enumerate(owners) if owner <= zero}


def _tagged(turn: Any, tag: str | None) -> Any:
    if tag is None:
        return turn
    return {**turn, "content": f"{tag}{turn.get('content') or ''}{tag}"}
