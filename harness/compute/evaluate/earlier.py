"""What earlier jobs left of a cell: answers set aside, or taken to be graded again."""

from __future__ import annotations

from harness.runs.files import utc_now
from harness.runs.paths import CellPaths


def set_aside(paths: CellPaths) -> None:
    """Move the answers to other inputs into a folder of their own, where nobody takes them for ours.

    Judgements stay: they are told apart by their keys, and paid for.
    """
    aside = paths.root / f"stale-{utc_now().replace(':', '')}"
    aside.mkdir(parents=True, exist_ok=True)
    for path in [*paths.root.glob("*.json*"), paths.program]:
        if path.exists() and path != paths.judgements:
            path.rename(aside / path.name)


def reopen(paths: CellPaths, repeats: int) -> None:
    """Grade the same answers again: the graded rows are answers once more."""
    for repeat in range(repeats):
        output, partial = paths.output(repeat), paths.partial(repeat)
        if output.is_file() and not partial.is_file():
            output.rename(partial)
    paths.metrics.unlink(missing_ok=True)
