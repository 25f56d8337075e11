"""What keeps the checkpoints of one table from being compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.results.names import natural
from harness.results.sources import ALL
from harness.results.table import Problem, Row


def not_everywhere(rows: Sequence[Row], known: Iterable[Problem]) -> list[Problem]:
    """Benchmarks that only some checkpoints have, unless `known` says something of them already."""
    told = {(p.run, p.checkpoint, p.benchmark) for p in known}
    have = [{column.split("/", 1)[0] for column in row.values} for row in rows]
    every = sorted(set().union(*have), key=natural)
    problems = []
    for row, own in zip(rows, have, strict=True):
        missing: list[str] = []
        for benchmark in every:
            if benchmark in own or _is_part(benchmark, missing):
                continue
            missing.append(benchmark)
            if (row.run, row.checkpoint, benchmark) not in told:
                reason = "other checkpoints have this benchmark"
                problems.append(Problem(row.checkpoint, benchmark, "missing", reason, run=row.run))
    return problems


def different_items(rows: Iterable[Row]) -> list[Problem]:
    """Benchmarks whose number of items, where it is known, is not the same everywhere."""
    sizes: dict[str, set[object]] = {}
    for row in rows:
        for column, value in row.values.items():
            if column.endswith("/num_entries") and value is not None:
                sizes.setdefault(column.split("/", 1)[0], set()).add(value)
    differ: list[str] = []
    for benchmark in sorted(sizes, key=natural):
        if len(sizes[benchmark]) > 1 and not _is_part(benchmark, differ):
            differ.append(benchmark)
    return [
        Problem(ALL, b, "invalid", f"num_entries differ: {', '.join(sorted(map(str, sizes[b])))}")
        for b in differ
    ]


def _is_part(benchmark: str, of: Iterable[str]) -> bool:
    """Whether it is a subset of one of these (`mmlu-anatomy`)."""
    return any(benchmark.startswith(f"{whole}-") for whole in of)
