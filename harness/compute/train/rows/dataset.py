"""Rows to train on, from a folder written by `save_to_disk`."""

from __future__ import annotations

import os
from pathlib import Path

from datasets import Dataset

from harness.chats.dataset import choose_columns, read_saved_dataset
from harness.chats.digest import rows_digest
from harness.errors import UserError


def dataset_digest(folder: str, split: str) -> str:
    """`rows_digest` of the dataset that is trained. Raises UserError."""
    try:
        return rows_digest(Path(folder), split)
    except UserError as error:
        raise UserError(f"dataset_name: {error}") from None


def open_rows(folder: str, split: str) -> Dataset:
    """All rows of a split, of the columns that are trained, in no format that was saved with it.

    Raises UserError when the folder holds no saved dataset, no such split or no rows.
    """
    try:
        saved = read_saved_dataset(Path(folder), split)
    except UserError as error:
        raise UserError(f"dataset_name: {error}") from None
    if saved.rows == 0:
        raise UserError(f"dataset_name: {folder}: no rows")
    columns = choose_columns(saved.columns)
    if not columns.trained:
        raise UserError(
            f"dataset_name: {folder}: columns are {', '.join(saved.columns)}; `messages` (or "
            "`prompt` and `completion`) is expected"
        )
    try:
        rows = Dataset.load_from_disk(str(saved.folder))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"dataset_name: {folder}: cannot be loaded: {error}") from None
    return rows.with_format(None).select_columns(list(columns.read))


def choose_rows(rows: Dataset, max_samples: int, seed: int) -> tuple[Dataset, str]:
    """At most `max_samples` rows by a seeded shuffle, and words that say what was taken."""
    if len(rows) <= max_samples:
        return rows, f"{len(rows):,} rows"
    taken = rows.shuffle(seed=seed).select(range(max_samples))
    return taken, f"{max_samples:,} of {len(rows):,} rows (shuffled with seed {seed})"


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
