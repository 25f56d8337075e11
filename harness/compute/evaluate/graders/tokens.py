"""Metrics that every benchmark has: entries, tokens, seconds. As NeMo-Skills (0b012df) counts them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def common_metrics(entries: Iterable[Sequence[Row]]) -> dict[str, int]:
    """num_entries and, where the rows tell, avg_tokens and gen_seconds; `entries[i]` is item i's rows."""
    common = Common()
    for rows in entries:
        common.add(rows)
    return common.metrics()


class Common:
    """What every benchmark's metrics have."""

    def __init__(self) -> None:
        self.entries = 0
        self._tokens = 0.0
        self._start, self._end = math.inf, -math.inf

    def add(self, rows: Sequence[Row]) -> None:
        self.entries += 1
        self._tokens += sum(tokens(row) for row in rows) / len(rows)
        for row in rows:
            self._start = min(self._start, row.get("generation_start_time", math.inf))
            self._end = max(self._end, row.get("generation_end_time", -math.inf))

    def metrics(self) -> dict[str, int]:
        common = {"num_entries": self.entries}
        if self._tokens > 0:
            common["avg_tokens"] = int(self._tokens / self.entries)
        if math.isfinite(self._start) and math.isfinite(self._end):
            common["gen_seconds"] = int(self._end - self._start)
        return common


def tokens(row: Row) -> float:
    """A server that counts no tokens leaves None."""
    return row.get("num_generated_tokens") or 0


def reasoning_tokens(row: Row) -> float:
    return row.get("num_reasoning_tokens") or 0


def answer_tokens(row: Row) -> float:
    """Tokens of the answer; without a division into reasoning and answer all count as its."""
    return row.get("num_answer_tokens") or (0 if reasoning_tokens(row) else tokens(row))
