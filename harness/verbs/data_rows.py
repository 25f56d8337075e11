"""Rows of a saved dataset chosen: data dedup, data split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import UserError, printable, quoted
from harness.verbs.common import say
from harness.verbs.options import AsJson, numeric

Saved = Annotated[Path, typer.Argument(metavar="DIR", help="A folder written by save_to_disk.")]
Seed = Annotated[
    int,
    typer.Option("--seed", parser=numeric(int, 0, 2**32 - 1), metavar="N", help="Of the choice."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be made, write nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def dedup(
    folder: Saved,
    target: Annotated[Path, typer.Argument(metavar="NEW", help="Where to write the dataset.")],
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            parser=numeric(float, 0.3, 1),
            metavar="SHARE",
            help="Also rows whose words are alike to this share, such as 0.8 (MinHash).",
        ),
    ] = None,
    seed: Seed = 42,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """A saved dataset without repeated chats, over all its splits; the first of each stays.

    Only what is trained is compared: turns and tools, no other column.

    Examples: python -m harness data dedup data/chats data/chats-once
              python -m harness data dedup data/chats data/chats-once --near 0.8 --dry-run
    """
    from harness.data.dedup import dedup as dedup_rows

    found = dedup_rows(
        folder, target, near=near, seed=seed, dry_run=dry_run, force=force, report=say
    )
    _tell(found, target, dry_run, as_json)


def split(
    folder: Saved,
    target: Annotated[Path, typer.Argument(metavar="NEW", help="Where to write the dataset.")],
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="SIZE", help="Rows (500) or a share (0.05, 5%) to hold out."
        ),
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="SIZE", help="The same, held out as well.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--split", help="Which one of a DatasetDict to split.")
    ] = None,
    seed: Seed = 42,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """A saved dataset -> a DatasetDict with `train`, and `test` or `validation`, chosen by chance.

    Rows with the same prompt stay together: nothing that is trained is asked in another split.
    `train.dataset_split` names the one to train on.

    Examples: python -m harness data split data/chats data/parted --test 0.05
              python -m harness data split data/chats data/parted --test 500 --validation 200
    """
    from harness.data.split import Size, size_of
    from harness.data.split import split as split_rows

    sizes: dict[str, Size] = {}
    for name, word in (("test", test), ("validation", validation)):
        if word is None:
            continue
        try:
            sizes[name] = size_of(word)
        except ValueError:
            raise UserError(
                f"--{name}: rows (500) or a share between 0 and 1 (0.05, 5%) are expected, "
                f"got {quoted(repr(word))}"
            ) from None
    if not sizes:
        raise UserError("say how many rows to hold out: --test 0.05, or --test 500")
    made = split_rows(
        folder, target, sizes, of=of, seed=seed, dry_run=dry_run, force=force, report=say
    )
    _tell(made, target, dry_run, as_json)


def _tell(found: Any, target: Path, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.facts() | {"dry_run": dry_run}, indent=2, ensure_ascii=False))
        return
    for line in found.lines(str(target), not dry_run):
        print(printable(line, one_line=True))
