"""Which rows are drawn of each set of a list, alike in `check`, tokenising and training."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.chats.dataset import has_split, read_saved_dataset
from harness.chats.digest import rows_digest
from harness.config.training.sources import DataSource
from harness.errors import UserError

SOURCES = "sources"
"""In a marker and in the facts of tokenised rows: what was drawn of each set of a list."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one set."""

    path: str
    split: str
    rows: int
    """Rows that it has."""
    drawn: int
    """Rows that are drawn of it, each as often as it is drawn."""
    rows_sha256: str
    """The digest of its rows, as `rows_digest` makes it."""


def passes_and_rest(rows: int, drawn: int, seed: int, number: int) -> tuple[int, list[int]]:
    """How often all rows are taken, and which are taken once more, ascending: a seeded sample without
    replacement. `number` is the set's place in the list, so that two sets draw on their own."""
    passes, rest = divmod(drawn, rows)
    return passes, sorted(random.Random(f"{seed}:{number}").sample(range(rows), rest))


def drawn_of(sources: Sequence[DataSource]) -> tuple[Drawn, ...]:
    """What is drawn of each set. Raises UserError where one cannot be read, has no rows, or gives
    none."""
    found = []
    for source in sources:
        split = str(source.split)
        rows = read_saved_dataset(Path(source.path), split).rows
        drawn = source.drawn(rows)
        if drawn == 0:
            raise UserError(nothing_drawn(source, rows))
        digest = rows_digest(Path(source.path), split)
        found.append(Drawn(source.path, split, rows, drawn, digest))
    return tuple(found)


def held_out(sources: Sequence[DataSource], split: str) -> tuple[DataSource, ...]:
    """Of the sets of a list those that have the split whose loss is measured, whole and once.

    Raises UserError when none has it.
    """
    folders = dict.fromkeys(s.path for s in sources if has_split(Path(s.path), split))
    if not folders:
        raise UserError(f"no set of the list has a split {split!r}")
    return tuple(DataSource(path=folder, split=split) for folder in folders)


def nothing_drawn(source: DataSource, rows: int) -> str:
    """Why a set of the list gives no row."""
    return f"{source.path}: no row is drawn: weight {source.weight:g} of {rows:,} rows"


def too_many(drawn: int, max_samples: int) -> str:
    """Why a list draws more rows than are allowed; empty when it does not."""
    if drawn <= max_samples:
        return ""
    return f"{drawn:,} rows are drawn, more than max_samples: {max_samples:,}"


def drawing_digest(drawn: Sequence[Drawn], seed: int) -> str:
    """12 hex digits of all rows that are trained, wherever their folders lie."""
    text = json.dumps([seed, *([d.rows_sha256, d.drawn] for d in drawn)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def told(drawn: Sequence[Drawn]) -> list[dict[str, object]]:
    """The sets as a file holds them."""
    return [asdict(one) for one in drawn]
