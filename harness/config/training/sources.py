"""One set to train on, or several with weights. Pure."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence

from pydantic import Field, TypeAdapter, ValidationError

from harness.config.base import FieldError, Frozen, Location, Word


class DataSource(Frozen):
    """A saved set among several, and how many of its rows are drawn."""

    path: Location
    """A folder written by `Dataset.save_to_disk`."""
    weight: float = Field(default=1.0, gt=0, le=1000)
    """Rows drawn per row that the set has: 2.5 takes all rows twice and half of them once more, 0.1 a
    tenth of them; which ones is seeded."""
    max_samples: int | None = Field(default=None, ge=1)
    """At most this many rows are drawn."""
    split: Word | None = None
    """Which split, where the folder holds a DatasetDict; unset: `train.dataset_split`."""

    def drawn(self, rows: int) -> int:
        """How many rows are drawn of so many: weight x rows, rounded to the nearest."""
        count = math.floor(self.weight * rows + 0.5)
        return count if self.max_samples is None else min(count, self.max_samples)


def check_list(sources: Sequence[DataSource], split: str) -> None:
    """Raise FieldError for a list that draws from nothing, or twice from one split of a folder;
    `split` is what an entry without its own has."""
    if not sources:
        raise FieldError("dataset_name", "the list is empty: give at least one {path: …}")
    seen: dict[tuple[str, str], int] = {}
    for number, source in enumerate(sources):
        same = seen.setdefault((os.path.normpath(source.path), source.split or split), number)
        if same != number:
            raise FieldError(
                ("dataset_name", number, "path"),
                f"{source.path} is given twice: give it once, with the sum of the weights",
                ("dataset_name", same, "path"),
            )


def to_text(sources: Sequence[DataSource]) -> str:
    """A list as one argument of the training script: JSON of what was given."""
    return json.dumps([s.model_dump(exclude_defaults=True) for s in sources], ensure_ascii=False)


def from_text(text: str) -> tuple[DataSource, ...]:
    """The list in an argument. Raises ValueError, with what is wrong in it."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError:
        given = None
    if not isinstance(given, list):
        raise ValueError("a JSON list of {path, weight, max_samples, split} is expected")
    try:
        return TypeAdapter(tuple[DataSource, ...]).validate_python(tuple(given))
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}") from None
