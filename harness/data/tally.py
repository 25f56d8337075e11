"""What became of the fields of rows. Tested through tests/data/test_shapes.py and tests/data/test_convert.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["kept", "renamed", "merged", "dropped"]
FATES: tuple[Fate, ...] = ("kept", "renamed", "merged", "dropped")
_KINDS, _SHOWN = 500, 30
"""How many different things are counted, and told."""
Note = tuple[Fate, str]
"""What became of a field of one row, in words."""


class BadRow(Exception):
    """Why a row is no chat to train on."""


@dataclass
class Tally:
    """By fate: in how many rows each thing happened."""

    kept: Counter[str] = field(default_factory=Counter)
    renamed: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, notes: Iterable[Note]) -> None:
        """Count what was noted of one row."""
        for fate, text in sorted(notes):
            counter: Counter[str] = getattr(self, fate)
            if text not in counter and len(counter) >= _KINDS:
                text = "others"  # rows whose fields all have names of their own
            counter[text] += 1

    def lines(self) -> list[str]:
        """`kept: messages 12, tools 3`, the most frequent first; nothing of what did not happen."""
        told = []
        for fate in FATES:
            counts: Counter[str] = getattr(self, fate)
            found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            if found:
                shown = ", ".join(f"{text} {count:,}" for text, count in found[:_SHOWN])
                more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                told.append(f"{fate}: {shown}{more}")
        return told
