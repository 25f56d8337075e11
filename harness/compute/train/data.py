"""Rows to train on, from a folder written by `save_to_disk`."""

from __future__ import annotations

import os
from pathlib import Path

from datasets import Dataset, DatasetDict, load_from_disk

from harness.errors import UserError, nearest


def load_rows(folder: str, split: str, max_samples: int, seed: int) -> tuple[Dataset, str]:
    """The rows of a split, at most `max_samples` of them, and a line that says what was taken.

    Raises UserError when the folder holds no saved dataset, no such split or no rows.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"dataset_name: {folder}: no such folder")
    try:
        loaded = load_from_disk(folder)
    except (FileNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"dataset_name: {folder}: not written by Dataset.save_to_disk: {error}"
        ) from None
    if isinstance(loaded, DatasetDict):
        if split not in loaded:
            raise UserError(
                f"dataset_split: {folder} has no split {split!r}{nearest(split, loaded)}\n"
                f"known: {', '.join(loaded)}"
            )
        rows = loaded[split]
    else:
        rows = loaded
    if len(rows) == 0:
        raise UserError(f"dataset_name: {folder}: no rows")
    if len(rows) <= max_samples:
        return rows, f"{len(rows):,} rows of {folder}"
    taken = rows.shuffle(seed=seed).select(range(max_samples))
    return taken, f"{max_samples:,} of {len(rows):,} rows of {folder} (shuffled with seed {seed})"


def link_dataset(folder: Path, target: Path) -> Path:
    """A folder of links to a dataset's files, so that tokenised rows are cached in the run.

    `datasets.map` writes its cache beside the dataset, which may be read-only or shared.
    Raises UserError when the folder cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"dataset_name: {folder}: no such folder")
    for parent, _, names in os.walk(folder.resolve()):
        inner = target / Path(parent).relative_to(folder.resolve())
        inner.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name.endswith((".arrow", ".json")) and not name.startswith("cache-"):
                (inner / name).unlink(missing_ok=True)
                (inner / name).symlink_to(Path(parent) / name)
    return target
