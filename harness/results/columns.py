"""The order of a table's columns: the same whatever rows there are and whichever came first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.benchmarks.registry import BENCHMARKS
from harness.config.graders import GRADERS
from harness.results.names import natural

_COUNTS = (
    "num_entries", "num_prompts", "num_instructions", "avg_tokens", "gen_seconds",
)  # fmt: skip
_METRICS = (*_COUNTS, *dict.fromkeys(m for kind in GRADERS.values() for m in kind.metrics))
_AGGREGATIONS = (
    r"pass@1", r"pass@(\d+)", r"pass@1\[avg-of-(\d+)\]", r"majority@(\d+)",
)  # fmt: skip


def ordered(columns: Iterable[str], benchmarks: Sequence[str] = ()) -> list[str]:
    """Columns by benchmark (as planned, then as the registry has them, then by name), aggregation
    and metric (counts, then the grader's own, then by name)."""
    places = {name: at for at, name in enumerate(dict.fromkeys((*benchmarks, *BENCHMARKS)))}
    found: dict[str, tuple[object, ...]] = {}

    def place(column: str) -> tuple[object, ...]:
        benchmark, aggregation, metric = column.split("/", 2)
        if benchmark not in found:
            found[benchmark] = _benchmark(benchmark, places)
        return (*found[benchmark], _aggregation(aggregation), _metric(metric))

    return sorted(columns, key=place)


def _benchmark(name: str, places: dict[str, int]) -> tuple[object, ...]:
    """A benchmark before its subsets (`mmlu-anatomy`), which stand with it."""
    stem = name
    while stem not in places and "-" in stem:
        stem = stem.rpartition("-")[0]
    is_subset = stem in places and name != stem
    return places.get(stem, len(places)), is_subset, natural(name)


def _aggregation(name: str) -> tuple[object, ...]:
    for at, pattern in enumerate(_AGGREGATIONS):
        if match := re.fullmatch(pattern, name):
            return at, int(match[match.lastindex or 0]) if match.lastindex else 0, natural(name)
    return len(_AGGREGATIONS), 0, natural(name)


def _metric(path: str) -> tuple[object, ...]:
    """`symbolic_correct` and what is below it stand together; a standard error after its metric."""
    name = path.partition("/")[0]
    stem = name.removesuffix("_stderr").removesuffix("_statistics")
    known = _METRICS.index(stem) if stem in _METRICS else len(_METRICS)
    return known, natural(path)
