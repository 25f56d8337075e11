"""What a user names -> files and saved sets with the split of each: files, folders, globs.

Names of splits are read as datasets 5.2 reads them (its data_files.py): `<split>-00000-of-00002`,
else a word in the file's name, else in a folder's. A README's `configs` come before both.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from harness.chats.dataset import read_saved_dataset
from harness.data.reading.arrow import rows_of
from harness.data.reading.files import KINDS, PACKED, Row, kind_of, members_of, read_rows
from harness.errors import ResultError, UserError, nearest
from harness.runs.files import read_object

_SAVED = ("dataset_dict.json", "state.json")
_METADATA = frozenset((*_SAVED, "dataset_info.json", "dataset_infos.json", "harness_source.json"))
_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-(?P<number>\d{5})-of-(?P<of>\d{5})")
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLITS = [
    (split, re.compile(rf"(?:^|[-._ 0-9])(?:{'|'.join(words)})(?:[-._ 0-9]|$)", re.I))
    for split, words in _WORDS.items()
]


@dataclass(frozen=True)
class Source:
    """Rows of one file, or of one split of a saved set."""

    label: str
    """What a message names."""
    split: str | None
    """As the source calls it; None: it says nothing."""
    rows: Callable[[], Iterator[Row]]
    named: bool = False
    """The split is the source's own structure, not a word in a file's name."""


@dataclass(frozen=True)
class Found:
    """All that was named."""

    sources: tuple[Source, ...]
    ignored: tuple[str, ...]
    """Files of folders that are no rows."""
    notes: tuple[str, ...] = ()


def find_sources(words: Sequence[str], subset: str | None = None) -> Found:
    """The sources that these words name, each once. Raises UserError."""
    sources: list[Source] = []
    ignored: list[str] = []
    notes: list[str] = []
    seen: set[Path] = set()
    for word in words:
        for path in _paths(word):
            if path.is_dir():
                _add_folder(path, subset, sources, ignored, notes, seen)
            elif not kind_of(path):
                kinds = ", ".join(KINDS)
                raise UserError.at(path, f"unknown kind of file; known: {kinds}, also {PACKED}")
            else:
                _add_file(path, _split_of(Path(path.name)), sources, seen)
    if not sources:
        told = f" ({', '.join(ignored[:5])} hold none)" if ignored else ""
        raise UserError.at(", ".join(words), f"no file of rows is there{told}")
    return Found(tuple(_settled(sources)), tuple(ignored), tuple(notes))


def _paths(word: str) -> list[Path]:
    path = Path(word).expanduser()
    if path.exists():
        return [path]
    if glob.has_magic(word):
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
        if found:
            return [p for p in found if p.is_dir() or kind_of(p)] or found
        raise UserError.at(word, "matches nothing")
    near = (
        nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
    )
    raise UserError.at(word, f"no such file or folder{near}")


def _add_file(path: Path, split: str | None, sources: list[Source], seen: set[Path]) -> None:
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    members = members_of(path)
    if not members:
        sources.append(Source(str(path), split, partial(read_rows, path)))
    for member in members:
        alone = len(members) == 1
        name = split if alone else _clean(member[-1])

        rows = partial(read_rows, path, member)
        sources.append(Source(str(path), name, rows, named=not alone))


def _clean(name: str) -> str:
    """A name of a split that may be a folder."""
    return re.sub(r"[^\w.]+", "_", name).strip(".") or "rows"


def _add_folder(
    folder: Path, subset: str | None, sources: list[Source], ignored: list[str],
    notes: list[str], seen: set[Path],
) -> None:  # fmt: skip
    if any((folder / mark).is_file() for mark in _SAVED):
        sources += _saved(folder)
        return
    files = [path for path in _walk(folder) if kind_of(path) and path.name not in _METADATA]
    saved = sorted({p.parent for p in _walk(folder) if p.name in _SAVED})
    tops = [s for s in saved if not any(o != s and s.is_relative_to(o) for o in saved)]
    for top in tops:
        sources += _saved(top)
    files = [path for path in files if not any(path.is_relative_to(top) for top in tops)]
    chosen = _configured(folder, subset)
    if chosen is None:
        chosen = {path: _split_of(path.relative_to(folder)) for path in files}
    _refuse_twins(chosen)
    notes += _missing_shards(chosen)
    for path, split in sorted(chosen.items()):
        _add_file(path, split, sources, seen)
    inside = (p for p in _walk(folder) if not any(p.is_relative_to(top) for top in tops))
    ignored += [str(path.relative_to(folder)) for path in inside if path not in chosen]


def _walk(folder: Path) -> list[Path]:
    """Its files but the hidden ones, such as hf download's .cache and .gitattributes."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def _saved(folder: Path) -> list[Source]:
    """The splits of a saved Dataset or DatasetDict."""
    try:
        mark = folder / "dataset_dict.json"
        names = list(read_object(mark)["splits"]) if mark.is_file() else [None]
    except (ResultError, KeyError, TypeError) as error:
        raise UserError.at(folder, f"is no saved dataset: {error}") from None

    return [
        Source(f"{folder}/{n}" if n else str(folder), n, partial(_saved_rows, folder, n), bool(n))
        for n in names
    ]


def _saved_rows(folder: Path, split: str | None) -> Iterator[Row]:
    number = 0
    for batch in read_saved_dataset(folder, split or "").batches():
        for row in rows_of(batch):
            number += 1
            yield f"row {number}", row


def _split_of(path: Path) -> str | None:
    shard = _SHARD.match(path.name)
    if shard:
        return shard["split"]
    stem = path.name.partition(".")[0]
    for name in (stem, *reversed(path.parts[:-1])):
        for split, word in _SPLITS:
            if word.search(name):
                return split
    return None


def _missing_shards(chosen: dict[Path, str | None]) -> list[str]:
    counts: dict[tuple[Path, str, int], int] = {}
    for path in chosen:
        if shard := _SHARD.match(path.name):
            key = (path.parent, shard["split"], int(shard["of"]))
            counts[key] = counts.get(key, 0) + 1
    return [
        f"{folder}: {count} of {of} files of {split} are here"
        for (folder, split, of), count in counts.items()
        if count < of
    ]


def _refuse_twins(chosen: dict[Path, str | None]) -> None:
    """The same rows in two formats would be trained twice."""
    stems: dict[Path, Path] = {}
    for path in sorted(chosen):
        stem = path.parent / path.name[: path.name.lower().rindex(kind_of(path))]
        other = stems.setdefault(stem, path)
        if other != path:
            cure = "Name the files to take, or a glob such as 'FOLDER/*.jsonl'"
            raise UserError.at(
                path.parent, f"{other.name} and {path.name} may be the same rows", cure
            )


def _configured(folder: Path, subset: str | None) -> dict[Path, str | None] | None:
    """Files and splits of a README's `configs`; None where it has none."""
    configs = {str(c.get("config_name", "default")): c for c in _configs(folder)}
    if subset is not None and subset not in configs:
        known = f"; it has {', '.join(configs)}" if configs else ""
        raise UserError.at(folder, f"has no subset {subset!r}{nearest(subset, configs)}{known}")
    if not configs:
        return None
    if subset is None and len(configs) > 1:
        default = [name for name, c in configs.items() if c.get("default") or name == "default"]
        if not default:
            raise UserError.at(
                folder, f"has several subsets: {', '.join(configs)}", "Choose one: --subset NAME"
            )
        subset = default[0]
    config = configs[subset] if subset else next(iter(configs.values()))
    base = folder / str(config.get("data_dir") or ".")
    chosen: dict[Path, str | None] = {}
    for split, pattern in _patterns(config.get("data_files") or "**"):
        for path in sorted(base.glob(pattern)):
            if path.is_file() and kind_of(path) and path.name not in _METADATA:
                chosen.setdefault(path, split or _split_of(path.relative_to(folder)))
    if not chosen:
        raise UserError.at(folder, "holds none of the files that its README.md names")
    return chosen


def _patterns(given: Any) -> Iterator[tuple[str | None, str]]:
    for entry in given if isinstance(given, list) else [given]:
        split = entry.get("split") if isinstance(entry, dict) else None
        paths = entry.get("path") if isinstance(entry, dict) else entry
        for path in paths if isinstance(paths, list) else [paths]:
            yield split, f"{path}/*" if str(path).endswith("**") else str(path)


def _configs(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / "README.md").read_text(encoding="utf-8-sig", errors="replace")
        head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.S)
        found = (yaml.safe_load(head[1]) or {}).get("configs") if head else None
    except (OSError, yaml.YAMLError, AttributeError):
        return []
    return [config for config in found or [] if isinstance(config, dict)]


def _settled(sources: list[Source]) -> list[Source]:
    """One split alone is none; beside others, what has no name belongs to `train`, which is first."""
    names = {source.split for source in sources}
    if any(source.named for source in sources) or len(names) > 1:
        found = [replace(source, split=source.split or "train") for source in sources]
        return sorted(found, key=lambda source: not str(source.split).startswith("train"))
    return [replace(source, split=None) for source in sources]
