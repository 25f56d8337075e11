"""What a judge is asked, one call at a time, and which part of an answer it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.compute.evaluate.graders.responses import strip_reasoning

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to the judge."""

    item: str
    """Id of the item."""
    name: str
    """`gen-base`, `base-gen` (arena-hard); `turn1`, `turn2` (mt-bench)."""
    system: str
    user: str

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


@dataclass(frozen=True)
class Judged:
    """How a kind of benchmark is judged."""

    calls: Callable[[Row, Row], list[Call]]
    """(item, row of its answers) -> calls."""
    readable: Callable[[str], bool]
    """Whether a judgement has a verdict."""
    metrics: Callable[[Sequence[Row]], dict[str, Any]]
    """Rows with `judgement-<call>` -> metrics of pass@1."""


def shown_answers(row: Row, turns: int) -> list[str]:
    """The answer to each turn without its leading think block; empty where none came.

    As NeMo-Skills, whose client takes that block off before anything is judged.
    """
    answers = row.get("generations") or [row.get("generation") or ""]
    shown = [strip_reasoning(answer) for answer in answers]
    return (shown + [""] * turns)[:turns]
