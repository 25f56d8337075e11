"""What checkpoints and runs are called in a table: steps in other trainers' names, labels, order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from harness.runs.paths import BASE, RUN_ID

Parts = tuple[str, ...]
"""A path, cut at its slashes."""
Key = TypeVar("Key")
Name = TypeVar("Name")
_WORD = r"(?:checkpoint|ckpt|global[-_]?step|step|iter(?:ation)?)s?[-_=]?([0-9]+)"
_PLAIN = re.compile(_WORD, re.IGNORECASE)
_ENDING = re.compile(rf"(?:.*[-_.=])?{_WORD}", re.IGNORECASE)
CONTAINERS = frozenset(
    """eval evals evaluation evaluations eval-results eval_results evaluation-results results outputs
    checkpoints ckpts""".split()  # noqa: SIM905
)
"""Folders that only hold others and tell nothing of what they hold."""


def step_of(name: str) -> int | None:
    """The optimizer step in a checkpoint's name, whichever trainer gave it; None where it has none.

    `checkpoint-500`, `global_step1000`, `step_1500`, `iter_0002000`, `ckpt=3`, also at the end of a
    longer name; `base` is 0. `epoch_1`, `final` and `checkpoint-500-merged` have none.
    """
    if name == BASE:
        return 0
    match = _ENDING.fullmatch(name)
    return int(match[1]) if match else None


def is_checkpoint_name(name: str) -> bool:
    """Whether a folder's whole name says that it is a checkpoint: `checkpoint-500`, `base`."""
    return name == BASE or _PLAIN.fullmatch(name) is not None


def natural(text: str) -> tuple[object, ...]:
    """A key to sort by in which numbers count as numbers: `epoch_2` before `epoch_10`."""
    parts = re.split(r"([0-9]+)", text)
    return tuple(int(p) if at % 2 else p.casefold() for at, p in enumerate(parts)), text


def run_of(checkpoint: Parts) -> Parts:
    """The folder of the run of a checkpoint's folder: the next above it that tells something."""
    parts = checkpoint[:-1]
    while len(parts) > 1 and parts[-1] in CONTAINERS:
        parts = parts[:-1]
    return parts


def run_names(run: Parts) -> list[str]:
    """What a run may be called, the shortest first; one of ours by its name, then name and id."""
    last = len(run) - 1
    if last > 1 and RUN_ID.match(run[last]):
        return [run[last - 1], *("/".join(run[at:]) for at in range(last - 1, -1, -1))]
    return ["/".join(run[at:]) for at in range(last, -1, -1)]


def distinct(names: Mapping[Key, Sequence[Name]]) -> dict[Key, Name]:
    """For each key the first of its names that no other key is called by."""
    level = dict.fromkeys(names, 0)
    while True:
        chosen = {key: names[key][at] for key, at in level.items()}
        taken = Counter(chosen.values())
        alike = [
            key
            for key, name in chosen.items()
            if taken[name] > 1 and level[key] + 1 < len(names[key])
        ]
        if not alike:
            return chosen
        for key in alike:
            level[key] += 1
