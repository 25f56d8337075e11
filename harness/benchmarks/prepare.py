"""Benchmark data on disk before any job needs it: fetched or taken from a folder, checked, locked.

A prepared benchmark is `<benchmarks_dir>/<name>.jsonl`, one item a line, with `id` and `question`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock

from harness.benchmarks.items import ItemFile
from harness.benchmarks.registry import BENCHMARKS, Benchmark, Item
from harness.benchmarks.rows import text_problem
from harness.benchmarks.sources import items_of
from harness.errors import EvaluationError, ResultError, UserError
from harness.runs.files import read_json, utc_now, write_json, write_text
from harness.runs.rows import json_lines


def prepared_file(benchmarks_dir: Path, name: str) -> Path:
    """Where a benchmark's items lie once prepared."""
    return benchmarks_dir / f"{name}.jsonl"


def facts_file(benchmarks_dir: Path, name: str) -> Path:
    """Number and checksum of a prepared benchmark's items."""
    return benchmarks_dir / f"{name}.facts.json"


def ground_truth_link(benchmarks_dir: Path, name: str) -> Path:
    """Link to the expected outputs of a benchmark that runs code."""
    return benchmarks_dir / f"{name}.ground-truth"


def nltk_data(benchmarks_dir: Path) -> Path:
    """NLTK's data folder (what $NLTK_DATA names)."""
    return benchmarks_dir / "nltk_data"


def punkt_folder(benchmarks_dir: Path) -> Path:
    """English punkt_tab inside NLTK's data folder."""
    return nltk_data(benchmarks_dir) / "tokenizers" / "punkt_tab" / "english"


def is_prepared(benchmarks_dir: Path, name: str) -> bool:
    """Whether all that a job needs is there (a generated benchmark is prepared on submission)."""
    benchmark = BENCHMARKS[name]
    if benchmark.backend != "builtin":
        return True  # its program keeps its own data
    return (
        prepared_file(benchmarks_dir, name).is_file()
        and facts_file(benchmarks_dir, name).is_file()
        and (not benchmark.runs_code or ground_truth_link(benchmarks_dir, name).is_dir())
        and (not benchmark.needs_punkt or punkt_folder(benchmarks_dir).is_dir())
    )


def prepare(name: str, benchmarks_dir: Path, source: Path | None = None) -> Path:
    """Write a benchmark's items, once, whatever else runs at the same time.

    `source` is a folder that holds the source file. Returns the prepared file.
    Raises UserError when the source cannot be had, SourceError when it is not what it must be.
    """
    benchmark = BENCHMARKS[name]
    target = prepared_file(benchmarks_dir, name)
    try:
        benchmarks_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(benchmarks_dir / f".{name}.lock"):
            items = benchmark.generate() if benchmark.generate else items_of(benchmark, source)
            write_items(benchmark, items, benchmarks_dir)
    except OSError as error:
        raise UserError.at(benchmarks_dir, f"benchmark data cannot be written: {error}") from None
    return target


def write_items(benchmark: Benchmark, items: list[Item], benchmarks_dir: Path) -> None:
    """Write items and their facts; the caller holds the lock. Raises EvaluationError."""
    _check_items(benchmark, items)
    for number, item in enumerate(items, 1):
        if problem := text_problem(item, "id"):
            raise EvaluationError(f"{benchmark.name}: item {number}: {problem}")
    text = json_lines(items)
    facts = facts_file(benchmarks_dir, benchmark.name)
    facts.unlink(missing_ok=True)  # items without facts are not prepared
    write_text(prepared_file(benchmarks_dir, benchmark.name), text)
    write_json(facts, {"items": len(items), "sha256": sha256(text), "made": utc_now()})


def open_items(benchmarks_dir: Path, name: str, limit: int | None = None) -> ItemFile:
    """The items of a prepared benchmark, read from disk as they are needed; the first `limit`.

    Raises EvaluationError when it is not prepared, or is not what `prepare` wrote.
    """
    path = prepared_file(benchmarks_dir, name)
    try:
        items = ItemFile(path, limit)
        facts = read_json(facts_file(benchmarks_dir, name))
    except (FileNotFoundError, ResultError):
        raise EvaluationError(f"{name} is not prepared: python -m harness prepare {name}") from None
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from None
    if not isinstance(facts, dict) or items.sha256 != facts.get("sha256"):
        raise EvaluationError(
            f"{path}: was changed or cut since it was prepared: "
            f"python -m harness prepare {name} --force"
        )
    _check(BENCHMARKS[name], items.total, items.different)
    return items


def _check_items(benchmark: Benchmark, items: list[Item]) -> None:
    _check(benchmark, len(items), len({item["id"] for item in items if "id" in item}))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check(benchmark: Benchmark, total: int, different: int) -> None:
    enough = total == benchmark.items or (benchmark.partial and 0 < total < benchmark.items)
    if not enough or different != total:
        raise EvaluationError(
            f"{benchmark.name}: {total} items ({different} different) where "
            f"{benchmark.items} are expected: prepare it again"
        )
