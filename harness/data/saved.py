"""Saved datasets, row by row and by choice of rows: what `dedup` and `split` share.

Tested through tests/data/test_dedup.py and tests/data/test_split.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.chats.dataset import missing, read_saved_dataset
from harness.data.reading.arrow import rows_of
from harness.data.replace import check_replaceable, put
from harness.data.shapes import Chat, to_chat
from harness.data.tally import BadRow
from harness.errors import ResultError, UserError
from harness.runs.files import read_object

ALONE = "all"
"""The one split of a folder that has none."""
_PROGRESS_S = 2.0
Report = Callable[[str], None]


def split_names(folder: Path) -> list[str]:
    """The splits of a saved dataset, in its order. Raises UserError where it is none."""
    if not folder.is_dir():
        raise missing(folder)
    mark = folder / "dataset_dict.json"
    try:
        if mark.is_file():
            return [str(name) for name in read_object(mark)["splits"]]
    except (ResultError, KeyError, TypeError) as error:
        raise UserError.at(folder, f"is no saved dataset: {error}") from None
    if not (folder / "state.json").is_file():
        cure = f"Make one: python -m harness data convert {folder} NEW"
        raise UserError.at(folder, "is no saved dataset", cure)
    return [ALONE]


def check_target(target: Path, force: bool, dry_run: bool) -> None:
    """Raise UserError where `target` may not be written."""
    if target.exists() and not force and not dry_run:
        raise UserError.at(target, "exists already; choose another folder, or --force")
    check_replaceable(target)


def chats_of(
    folder: Path, split: str, report: Report
) -> Iterator[tuple[int, dict[str, Any], Chat | None]]:
    """Number (from 0) and value of each row, with its chat, or None where it is none."""
    said, number = time.monotonic(), 0
    for batch in read_saved_dataset(folder, split).batches():
        for row in rows_of(batch):
            try:
                chat = to_chat(row)
            except BadRow:
                chat = None
            yield number, row, chat
            number += 1
            if time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                report(f"{number:,} rows of {split} read")


def digest(value: Any) -> bytes:
    """Of a JSON value; alike for alike ones."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def save_rows(
    folder: Path, target: Path, parts: Mapping[str, tuple[str, Sequence[int] | None]]
) -> None:
    """Write rows of `folder` to `target`, whole or not at all.

    `parts`: name of a new split -> split of `folder`, and its rows by number (None: all). A part
    named ALONE, by itself, becomes a Dataset. Raises UserError.
    """
    from datasets import DatasetDict, disable_progress_bars, load_from_disk

    disable_progress_bars()
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        loaded = load_from_disk(str(folder))
        splits = loaded if isinstance(loaded, DatasetDict) else {ALONE: loaded}
        made = {
            name: (splits[of] if rows is None else splits[of].select(rows)).with_format(None)
            for name, (of, rows) in parts.items()
        }
        (made[ALONE] if set(made) == {ALONE} else DatasetDict(made)).save_to_disk(partial)
        put(partial, target)
    except OSError as error:
        raise UserError.at(target, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
