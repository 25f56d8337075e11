"""Rows to train on, from a folder written by `save_to_disk`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, load_from_disk
from transformers import PreTrainedTokenizerBase

from harness.compute.train.arguments import TrainingConfig
from harness.compute.train.rows.progress import Progress
from harness.errors import UserError, nearest

SEARCH_S = 120.0
"""How long a row that cannot be tokenised is looked for."""


def open_rows(folder: str, split: str) -> Dataset:
    """All rows of a split.

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
    return rows


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


def find_bad_row(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, progress: Progress
) -> tuple[str | None, int]:
    """The first row that cannot be tokenised, and why; and how many rows were looked at.

    It looks for SEARCH_S at most: GPUs wait meanwhile, and `check` looks at all rows.
    """
    began = time.monotonic()
    for number in range(len(rows)):
        reason = _why_not(rows[number], tokenizer, config.assistant_only_loss)
        if reason:
            original = rows._indices[0][number].as_py() if rows._indices is not None else number
            return f"row {original}: {reason}", number + 1
        spent = time.monotonic() - began
        progress.rows("looked for the bad row in", number + 1, len(rows), spent)
        if spent > SEARCH_S:
            return None, number + 1
    return None, len(rows)


def _why_not(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, assistant_only: bool) -> str:
    turns = row.get("messages", row.get("prompt"))
    if isinstance(turns, str):
        return ""
    if not turns:
        return "no messages"
    turns = [*turns, *(row.get("completion") or [])]
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in turns]
    try:
        done = tokenizer.apply_chat_template(
            turns, return_dict=True, return_assistant_tokens_mask=assistant_only
        )
    except Exception as problem:  # whatever a template may raise
        return f"the chat template refuses it (roles {roles}): {type(problem).__name__}: {problem}"
    if assistant_only and 1 not in done["assistant_masks"]:
        return f"no assistant token in it (roles {roles})"
    return ""
