"""Benchmark data on disk before any job needs it: fetched or taken from a folder, checked, locked.

A prepared benchmark is `<benchmarks_dir>/<name>.jsonl`, one item a line, with `id` and `question`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.benchmarks import judged, mmlu
from harness.benchmarks.items import ItemFile
from harness.benchmarks.registry import BENCHMARKS, Benchmark, Item
from harness.errors import EvaluationError, ResultError, UserError
from harness.runs.files import read_json, utc_now, write_json, write_text
from harness.runs.rows import json_lines

FETCH_TIMEOUT_S = 60


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
    Raises UserError when the source cannot be had, EvaluationError when it is not what it must be.
    """
    benchmark = BENCHMARKS[name]
    target = prepared_file(benchmarks_dir, name)
    try:
        benchmarks_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(benchmarks_dir / f".{name}.lock"):
            if benchmark.generate:
                items = benchmark.generate()
            else:
                items = convert(benchmark, _unpack(benchmark, _read(benchmark, source)))
            if benchmark.further:
                files = [_read(benchmark, source, *each) for each in benchmark.further]
                items = judged.complete(name, items, [f.decode("utf-8") for f in files])
            write_items(benchmark, items, benchmarks_dir)
    except OSError as error:
        raise UserError.at(benchmarks_dir, f"benchmark data cannot be written: {error}") from None
    return target


def write_items(benchmark: Benchmark, items: list[Item], benchmarks_dir: Path) -> None:
    """Write items and their facts; the caller holds the lock. Raises EvaluationError."""
    _check_items(benchmark, items)
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
    if items.sha256 != facts.get("sha256"):
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


def convert(benchmark: Benchmark, content: bytes) -> list[Item]:
    """The source's rows as items; fields as NeMo-Skills prepares them."""
    if benchmark.name == "mmlu":
        return mmlu.items(content)
    rows = [json.loads(line) for line in content.decode("utf-8").split("\n") if line.strip()]
    make = _CONVERTERS[benchmark.name]
    return [make(index, row) for index, row in enumerate(rows)]


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


def _check(benchmark: Benchmark, total: int, different: int) -> None:
    enough = total == benchmark.items or (benchmark.partial and 0 < total < benchmark.items)
    if not enough or different != total:
        raise EvaluationError(
            f"{benchmark.name}: {total} items ({different} different) where "
            f"{benchmark.items} are expected: prepare it again"
        )


def _read(benchmark: Benchmark, source: Path | None, file: str = "", url: str = "") -> bytes:
    """The benchmark's source file, or a further one."""
    file, url = file or benchmark.file, url or benchmark.source
    if source is not None:
        found = sorted(path for path in source.glob(file) if path.is_file())
        if not found:
            raise UserError.at(benchmark.name, f"{source / file} does not exist")
        return found[0].read_bytes()
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
    return answer.content


def _unpack(benchmark: Benchmark, content: bytes) -> bytes:
    if benchmark.file.endswith(".gz"):
        content = gzip.decompress(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if benchmark.md5 and digest != benchmark.md5:
        raise EvaluationError(
            f"{benchmark.name}: the source's MD5 is {digest}, expected {benchmark.md5}"
        )
    return content
