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

from harness.benchmarks import judged
from harness.benchmarks.registry import BENCHMARKS, Benchmark, Item
from harness.errors import EvaluationError, UserError
from harness.runs.files import write_text

FETCH_TIMEOUT_S = 60


def prepared_file(benchmarks_dir: Path, name: str) -> Path:
    """Where a benchmark's items lie once prepared."""
    return benchmarks_dir / f"{name}.jsonl"


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
    return (
        prepared_file(benchmarks_dir, name).is_file()
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
            _check(benchmark, items)
            write_text(target, "".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items))
    except OSError as error:
        raise UserError(f"{benchmarks_dir}: benchmark data cannot be written: {error}") from None
    return target


def load_items(benchmarks_dir: Path, name: str) -> list[Item]:
    """The items of a prepared benchmark. Raises EvaluationError when it is not prepared or cut."""
    path = prepared_file(benchmarks_dir, name)
    try:
        # Not splitlines(): it also splits at U+2028, which a text may hold.
        text = path.read_text(encoding="utf-8")
        items = [json.loads(line) for line in text.split("\n") if line]
    except FileNotFoundError:
        raise EvaluationError(f"{name} is not prepared: python -m harness prepare {name}") from None
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from None
    _check(BENCHMARKS[name], items)
    return items


def convert(benchmark: Benchmark, text: str) -> list[Item]:
    """The source's rows as items; fields as NeMo-Skills prepares them."""
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
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


def _check(benchmark: Benchmark, items: list[Item]) -> None:
    ids = {item.get("id") for item in items}
    if len(items) != benchmark.items or len(ids) != len(items) or None in ids:
        raise EvaluationError(
            f"{benchmark.name}: {len(items)} items ({len(ids)} different) where "
            f"{benchmark.items} are expected: prepare it again"
        )


def _read(benchmark: Benchmark, source: Path | None, file: str = "", url: str = "") -> bytes:
    """The benchmark's source file, or a further one."""
    file, url = file or benchmark.file, url or benchmark.source
    if source is not None:
        path = source / file
        if not path.is_file():
            raise UserError(f"{benchmark.name}: {path} does not exist")
        return path.read_bytes()
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


def _unpack(benchmark: Benchmark, content: bytes) -> str:
    if benchmark.file.endswith(".gz"):
        content = gzip.decompress(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if benchmark.md5 and digest != benchmark.md5:
        raise EvaluationError(
            f"{benchmark.name}: the source's MD5 is {digest}, expected {benchmark.md5}"
        )
    return content.decode("utf-8")
