"""What a benchmark is prepared from: fetched or taken from a folder, unpacked, read row by row."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks import judged, mmlu
from harness.benchmarks.registry import Benchmark, Item
from harness.benchmarks.rows import json_rows, text_problem, wrong_shape
from harness.config.graders import GRADERS
from harness.errors import SourceError, UserError, reason

FETCH_TIMEOUT_S = 60


@dataclass(frozen=True)
class Source:
    """The bytes of a source file, and where they come from."""

    content: bytes
    place: str
    """A path or a URL."""


def items_of(benchmark: Benchmark, folder: Path | None) -> list[Item]:
    """The items of a benchmark from its source, in `folder` or on the network.

    Raises UserError when the source cannot be had, SourceError when it is not what it must be.
    """
    source = read_source(benchmark, folder, benchmark.file, benchmark.source)
    items = convert(benchmark, unpack(benchmark, source), source.place)
    if benchmark.further:
        files = [read_source(benchmark, folder, *each) for each in benchmark.further]
        contents, places = [f.content for f in files], [f.place for f in files]
        items = judged.complete(benchmark.name, items, contents, places)
    _check_number(benchmark, items, source.place)
    return items


def read_source(benchmark: Benchmark, folder: Path | None, file: str, url: str) -> Source:
    """A source file of a benchmark. Raises UserError where it is not there."""
    if folder is None:
        return _fetch(benchmark, file, url)
    if folder.is_file():
        raise UserError.at(f"--from {folder}", f"is a file; give the folder that holds {file}")
    found = sorted(path for path in folder.glob(file) if path.is_file())
    if not found:
        raise UserError.at(benchmark.name, f"{folder / file} does not exist")
    try:
        return Source(found[0].read_bytes(), str(found[0]))
    except OSError as error:
        raise UserError.at(found[0], f"cannot be read: {reason(error)}") from None


def _fetch(benchmark: Benchmark, file: str, url: str) -> Source:
    import httpx

    try:
        answer = httpx.get(url, follow_redirects=True, timeout=FETCH_TIMEOUT_S)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise UserError(
            f"{benchmark.name}: {url} cannot be fetched: {error}\n"
            f"Fetch it where there is internet, then: "
            f"python -m harness prepare {benchmark.name} --from FOLDER (holding {file})"
        ) from None
    return Source(answer.content, url)


def unpack(benchmark: Benchmark, source: Source) -> bytes:
    """The content of a source, out of its gzip file. Raises SourceError."""
    content = source.content
    if benchmark.file.endswith(".gz"):
        if not content.startswith(b"\x1f\x8b"):
            raise SourceError(f"{source.place}: is not compressed by gzip, as {benchmark.file} is")
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{source.place}: is cut or damaged: {error}") from None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if benchmark.md5 and digest != benchmark.md5:
        raise SourceError(
            f"{benchmark.name}: the source's MD5 is {digest}, expected {benchmark.md5}: {source.place}"
        )
    return content


def convert(benchmark: Benchmark, content: bytes, place: str = "") -> list[Item]:
    """The source's rows as items; fields as NeMo-Skills prepares them. Raises SourceError."""
    if benchmark.name == "mmlu":
        return mmlu.items(content)
    place = place or benchmark.name
    make = _CONVERTERS[benchmark.name]
    items: list[Item] = []
    for line, row in json_rows(content.split(b"\n"), place):
        try:
            item = make(len(items), row)
            problem = _item_problem(benchmark, item)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            problem = wrong_shape(error)
        except OverflowError:
            problem = "a number without end"
        if problem:
            raise SourceError(f"{place}:{line}: no row of {benchmark.name}: {problem}")
        items.append(item)
    return items


def _item_problem(benchmark: Benchmark, item: Item) -> str:
    kind = GRADERS[benchmark.grader]
    lacking = [name for name in kind.needs if item.get(name) is None]
    if lacking:
        return f"no field '{lacking[0]}'"
    return text_problem(item, "id", "question") or kind.problem(item)


def _check_number(benchmark: Benchmark, items: Iterable[Item], place: str) -> None:
    ids = [item["id"] for item in items]
    total, different = len(ids), len(set(ids))
    enough = total == benchmark.items or (benchmark.partial and 0 < total < benchmark.items)
    if not enough or different != total:
        raise SourceError(
            f"{place}: holds {total} items ({different} different) of {benchmark.name}, where "
            f"{benchmark.items} are expected: it is cut, or another file"
        )


def _gsm8k(index: int, row: dict[str, Any]) -> Item:
    solution, _, answer = row["answer"].partition("####")
    value = float(answer.strip().replace(",", ""))
    return {
        "id": f"gsm8k/{index}",
        "question": row["question"],
        "expected_answer": int(value) if value == int(value) else value,
        "reference_solution": re.sub(r"<<.*?>>", "", solution),
    }


def _ifeval(index: int, row: dict[str, Any]) -> Item:
    return {"id": f"ifeval/{row['key']}", "question": row["prompt"], **row}


def _code(index: int, row: dict[str, Any]) -> Item:
    # Tabs for indentation, as NeMo-Skills asks the question.
    return {"id": row["task_id"], "question": row["prompt"].replace("    ", "\t"), **row}


_CONVERTERS = {
    "gsm8k": _gsm8k,
    "ifeval": _ifeval,
    "human-eval": _code,
    "mbpp": _code,
    "mt-bench": judged.mt_bench_item,
    "arena-hard": judged.arena_item,
    "arena-hard-v2": judged.arena_item,
}
