"""Files that speak of the same checkpoint, together; evaluations of it that differ, apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.merge import Merged, merge
from harness.results.names import Parts, run_of, step_of
from harness.results.sources import Found


@dataclass(frozen=True)
class Group:
    """One row to be."""

    checkpoint: Parts
    names: list[str]
    """What it may be called in its run, the shortest first."""
    merged: Merged

    @property
    def run(self) -> Parts:
        return run_of(self.checkpoint)

    @property
    def step(self) -> int | None:
        return step_of(self.checkpoint[-1])


def groups_of(found: Sequence[Found]) -> list[Group]:
    """One group for each checkpoint; several where folders between it and its files tell more.

    `checkpoint-500/eval-results` and `checkpoint-500/lm-eval` are of one; `checkpoint-500/temp-0` and
    `checkpoint-500/temp-1` are two. Models of lm-eval's or lighteval's are told apart where there are
    several.
    """
    checkpoints: dict[Parts, list[Found]] = {}
    for each in found:
        checkpoints.setdefault(each.place.checkpoint, []).append(each)
    groups = []
    for checkpoint, everything in checkpoints.items():
        models: dict[tuple[Parts, str], set[Parts]] = {}
        for each in everything:
            models.setdefault((each.place.inner, each.place.tool), set()).add(each.place.model)
        parts: dict[Parts, list[Found]] = {}
        for each in everything:
            several = len(models[each.place.inner, each.place.tool]) > 1
            more = (*each.place.inner, *each.place.model) if several else each.place.inner
            parts.setdefault(more, []).append(each)
        for more, files in parts.items():
            shown = more if len(parts) > 1 else ()
            names = [
                "/".join((*checkpoint[at:], *shown)) for at in range(len(checkpoint) - 1, -1, -1)
            ]
            groups.append(Group(checkpoint, names, merge(files)))
    return groups
