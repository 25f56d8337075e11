"""Benchmarks of the user's own: a small YAML file, prepared once and then like any other.

`prepare my.yaml` writes `<benchmarks_dir>/my.jsonl` (the items) and `my.benchmark.json` (what the
benchmark is); whoever knows the folder knows the benchmark, on every node. A later change of the
YAML or its data changes nothing that is queued: it must be prepared again, with --force.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.benchmarks.items import Item
from harness.benchmarks.registry import BENCHMARKS, Benchmark
from harness.benchmarks.rows import json_rows, text_problem
from harness.config.benchmark import BenchmarkFile, prompt_fields
from harness.config.graders import GRADERS
from harness.config.load import expand, load_file
from harness.errors import ResultError, UserError, nearest, reason
from harness.runs.files import read_json, write_json

_ENDING = ".benchmark.json"
_KEPT = ("name", "summary", "items", "grader", "headline", "prompt", "needs_punkt", "licence")
BUILTIN = frozenset(BENCHMARKS)


def is_definition(word: str) -> bool:
    """Whether a word on the command line is a file that defines a benchmark."""
    return word.endswith((".yaml", ".yml"))


def read_definition(path: Path) -> tuple[Benchmark, Callable[[], list[Item]]]:
    """A benchmark, and what reads its items. Raises UserError, naming file, line and field."""
    given = load_file(BenchmarkFile, path, {"name": path.stem})
    if given.name in BUILTIN:
        raise UserError.at(path, f"name: {given.name} is a benchmark already: choose another name")
    kind = GRADERS[given.grader]
    beside = Path(os.path.abspath(path.parent / given.data))
    is_here = not given.data.startswith(("~", "$"))
    data = beside if is_here else expand(given.data, f"{path}: data")
    items = list(_items(given, data))
    if not items:
        raise UserError.at(data, "no items in it")
    benchmark = Benchmark(
        name=given.name,
        summary=given.summary,
        items=len(items),
        grader=given.grader,
        headline=given.headline or kind.headline,
        prompt=given.prompt,
        needs_punkt=kind.needs_punkt,
        source=str(data),
        licence=given.licence,
    )
    return benchmark, lambda: items


def save_definition(benchmarks_dir: Path, benchmark: Benchmark) -> None:
    """Make a prepared benchmark known to all who use the folder."""
    facts = {name: getattr(benchmark, name) for name in (*_KEPT, "source")}
    write_json(benchmarks_dir / f"{benchmark.name}{_ENDING}", facts)
    BENCHMARKS[benchmark.name] = benchmark


def saved_definition(benchmarks_dir: Path, name: str) -> Benchmark | None:
    """A prepared benchmark of the user's own; None if there is none of that name."""
    path = benchmarks_dir / f"{name}{_ENDING}"
    if not path.is_file():
        return None
    try:
        benchmark = Benchmark(**read_json(path))
        if not isinstance(benchmark.items, int) or benchmark.grader not in GRADERS:
            raise TypeError("its items or its grader are unknown")
    except (ResultError, TypeError) as error:
        raise UserError.at(path, f"not a prepared benchmark: {error}; prepare it again") from None
    return benchmark


def register_prepared(benchmarks_dir: Path) -> None:
    """Make the folder's own benchmarks known to this process. Raises UserError."""
    for path in sorted(benchmarks_dir.glob(f"*{_ENDING}")):
        name = path.name.removesuffix(_ENDING)
        benchmark = saved_definition(benchmarks_dir, name)
        if benchmark is not None and name not in BUILTIN:
            BENCHMARKS[name] = benchmark


def _items(given: BenchmarkFile, data: Path) -> Iterator[Item]:
    needed = dict.fromkeys([*prompt_fields(given.prompt), *GRADERS[given.grader].needs])
    places: dict[str, int] = {}
    for number, row in _rows(data):
        item = {**row, **{ours: row.get(theirs) for ours, theirs in given.fields.items()}}
        where = f"{data}:{number}"
        for name in needed:
            if item.get(name) is None:
                theirs = given.fields.get(name, name)
                raise UserError(
                    f"{where}: no field {theirs!r}{nearest(theirs, row)}\n"
                    f"`fields: {{{name}: <its name in the data>}}` says where it is"
                )
        if problem := GRADERS[given.grader].problem(item):
            raise UserError.at(where, problem)
        identity = item.get("id")
        item["id"] = f"{given.name}/{len(places)}" if identity is None else str(identity)
        if item["id"] in places:
            raise UserError.at(where, f"id {item['id']!r} is line {places[item['id']]}'s, too")
        places[item["id"]] = number
        asked = given.prompt.format_map(item)
        item.setdefault("question", asked)
        item["prompt"] = item.get("prompt") or item["question"]
        if problem := _item_problem({**item, "what is asked": asked}):
            raise UserError.at(where, problem)
        yield item


def _item_problem(item: Item) -> str:
    if "turns" in item:
        return (
            "turns is a field of mt-bench's own; a benchmark of your own is asked once: rename it"
        )
    texts = ["id", "question", "prompt", "what is asked"]
    texts += [name for name in ("subset_for_metrics",) if name in item]
    return text_problem(item, *texts)


def _rows(data: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with data.open("rb") as file:
            yield from json_rows(file, data, UserError)
    except OSError as error:
        raise UserError.at(data, f"cannot be read: {reason(error)}") from None
