"""A dataset saved by `save_to_disk`, read without the datasets library.

Format (datasets 5.2): a Dataset folder holds state.json, which lists its Arrow stream files under
`_data_files`, and dataset_info.json with the columns under `features`; a DatasetDict folder holds
dataset_dict.json with `splits`, and one Dataset folder for each.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.chats.rows import plain_rows
from harness.errors import ResultError, UserError, nearest
from harness.runs.files import read_json

CURE = (
    "Of the Hub: python -m harness data get ID FOLDER; of files: python -m harness data convert "
    "FILES FOLDER"
)
"""How a saved dataset comes to be, where all nodes see it."""

BESIDE = ("tools", "chat_template_kwargs")
"""Columns that TRL reads beside the messages."""


@dataclass(frozen=True)
class SavedDataset:
    """One split of a saved dataset."""

    folder: Path
    rows: int
    columns: tuple[str, ...]
    files: tuple[Path, ...] = ()

    def batches(self, columns: tuple[str, ...] = ()) -> Iterator[Any]:
        """Record batches in row order, of these columns (default all), read by memory map.

        Raises UserError when a file is damaged.
        """
        import pyarrow as pa

        for file in self.files:
            try:
                with pa.memory_map(str(file)) as source:
                    for batch in pa.ipc.open_stream(source):
                        yield batch.select(list(columns)) if columns else batch
            except (OSError, pa.ArrowException) as error:
                raise UserError.at(file, f"the dataset is damaged: {error}") from None

    def sample(self, count: int, seed: int, columns: tuple[str, ...]) -> dict[int, dict[str, Any]]:
        """At most `count` rows by number, in random order; the same ones for the same seed."""
        chosen = random.Random(seed).sample(range(self.rows), min(count, self.rows))
        return self.take(chosen, columns)

    def take(self, numbers: list[int], columns: tuple[str, ...]) -> dict[int, dict[str, Any]]:
        """Rows by number, in the order asked for, as `plain_rows` makes them."""
        wanted, position, first = sorted(numbers), 0, 0
        found: dict[int, dict[str, Any]] = {}
        for batch in self.batches(columns):
            here = []
            while position < len(wanted) and wanted[position] < first + batch.num_rows:
                here.append(wanted[position])
                position += 1
            if here:
                rows = plain_rows(batch.take([number - first for number in here]))
                found.update(zip(here, rows, strict=True))
            first += batch.num_rows
        return {number: found[number] for number in numbers}


def read_saved_dataset(folder: Path, split: str) -> SavedDataset:
    """Rows and columns of a saved split. Raises UserError when it is not one or is damaged."""
    if not folder.is_dir():
        raise missing(folder)
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = _names(folder / "dataset_dict.json", "splits")
            if split not in splits:
                raise UserError(
                    f"{folder}: has no split {split!r}{nearest(split, splits)}; "
                    f"it has {', '.join(splits)}: set train.dataset_split"
                )
            folder = folder / split
        files = tuple(folder / name for name in _names(folder / "state.json", "_data_files"))
        columns = _names(folder / "dataset_info.json", "features")
    except ResultError as error:
        cure = f"Of the files in it: python -m harness data convert {_word(folder)} FOLDER"
        text = f"not a dataset saved by save_to_disk: {error}"
        raise UserError.at(folder, text, cure if os.listdir(folder) else CURE) from None
    empty = SavedDataset(folder, 0, columns, files)
    return SavedDataset(folder, sum(batch.num_rows for batch in empty.batches()), columns, files)


def missing(folder: Path) -> UserError:
    """That a dataset's folder is not there, with the nearest name beside it and what makes one."""
    if folder.exists():
        cure = f"python -m harness data convert {_word(folder)} FOLDER"
        return UserError.at(folder, "is a file, and a saved dataset a folder", cure)
    absent, above = folder, folder.parent
    while not above.is_dir() and above != above.parent:
        absent, above = above, above.parent
    beside: list[str] = []
    with suppress(OSError):
        beside = [path.name for path in above.iterdir() if path.is_dir()]
    hint = nearest(absent.name, beside)
    if absent == folder:
        return UserError.at(folder, f"no such folder{hint}", CURE)
    if hint:
        return UserError.at(folder, f"no such folder: {absent} is not there{hint}", CURE)
    id = "/".join(folder.parts[-2:])
    cure = CURE.replace("ID", _word(id))
    return UserError.at(folder, "no such folder (a dataset's Hub id is not taken here)", cure)


def _word(path: Path | str) -> str:
    """As a shell takes it."""
    return shlex.quote(str(path))


def has_split(folder: Path, split: str) -> bool:
    """Whether a folder holds a DatasetDict with a split. Raises UserError when it is damaged."""
    file = folder / "dataset_dict.json"
    try:
        return file.is_file() and split in _names(file, "splits")
    except ResultError as error:
        raise UserError(f"{folder}: {error}") from None


def _names(file: Path, field: str) -> tuple[str, ...]:
    """The names in a field of a JSON file: a list of them or of `{"filename": …}`, or the keys of a
    mapping. Raises ResultError."""
    data = read_json(file)
    found = data.get(field) if isinstance(data, dict) else None
    entries = list(found) if isinstance(found, dict | list) else []
    names = [e.get("filename") if isinstance(e, dict) else e for e in entries]
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in names):
        raise ResultError(f"{file}: `{field}` with names is expected")
    return tuple(map(str, names))


@dataclass(frozen=True)
class Columns:
    """What becomes of a dataset's columns."""

    trained: tuple[str, ...]
    """`messages`, or `prompt` and `completion`; empty where there is neither."""
    beside: tuple[str, ...]
    """Those that go into the rendering of a row: tools, the template's arguments."""
    dropped: tuple[str, ...]
    """All others: TRL would take some of them before `messages`, so none of them reaches it."""

    @property
    def read(self) -> tuple[str, ...]:
        return (*self.trained, *self.beside)


def choose_columns(columns: tuple[str, ...]) -> Columns:
    """`messages` where there are any, else `prompt` with `completion`; everything else is dropped.

    TRL 1.16 itself takes the first of input_ids, prompt and completion, conversations, messages.
    """
    pair = ("prompt", "completion")
    trained: tuple[str, ...] = ()
    if "messages" in columns:
        trained = ("messages",)
    elif set(pair) <= set(columns):
        trained = pair
    beside = tuple(c for c in BESIDE if c in columns) if trained else ()
    dropped = tuple(c for c in columns if c not in (*trained, *beside))
    return Columns(trained, beside, dropped)
