"""Grades of all rows -> the metrics of NeMo-Skills' metrics.json, number for number.

Pure. Source of every rule: NeMo-Skills (0b012df) `evaluation/metrics/base.py`, `math_metrics.py`,
`code_metrics.py`, `if_metrics.py` and `compute_metrics.py`. Percentages are floats that are not
rounded; `avg_tokens` (tokens) and `gen_seconds` (seconds) are cut to integers; `*_statistics` are
on the scale of the score itself (0..1 for correctness).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compute.evaluate.graders.tokens import Common, answer_tokens, reasoning_tokens
from harness.config.graders import GRADERS
from harness.errors import ResultError

Row = Mapping[str, Any]
Metrics = dict[str, dict[str, Any]]
# Aggregation -> score -> sum over all entries.
_Sums = defaultdict[str, defaultdict[str, float]]


def benchmark_metrics(
    benchmark: str, kind: str, items: Sequence[Row], samples: Sequence[Sequence[Row]]
) -> dict[str, Metrics]:
    """What metrics.json holds, of rows in memory; see `BenchmarkAggregator`."""
    _check_lengths(items, samples)
    aggregator = BenchmarkAggregator(benchmark, kind, len(samples))
    for item, rows in zip(items, zip(*samples, strict=True), strict=True):
        aggregator.add(item, rows)
    return aggregator.metrics()


def aggregate(kind: str, items: Sequence[Row], samples: Sequence[Sequence[Row]]) -> Metrics:
    """`{aggregation: {metric: value}}` of rows in memory: `samples[k][i]` is sample k of item i.

    Raises ResultError: no items, no samples, or a sample that does not have every item.
    """
    _check_lengths(items, samples)
    aggregator = Aggregator(kind, len(samples))
    for item, rows in zip(items, zip(*samples, strict=True), strict=True):
        aggregator.add(item, rows)
    return aggregator.metrics()


def _check_lengths(items: Sequence[Row], samples: Sequence[Sequence[Row]]) -> None:
    if not items or not samples:
        raise ResultError("nothing to aggregate: no items or no samples")
    if wrong := [len(sample) for sample in samples if len(sample) != len(items)]:
        raise ResultError(f"a sample has {wrong[0]} graded rows for {len(items)} items")


class BenchmarkAggregator:
    """A benchmark, and `<benchmark>-<subset>` for each subset.

    Subsets come from the items' `subset_for_metrics`, in order of appearance (mmlu has them).
    """

    def __init__(self, benchmark: str, kind: str, samples: int) -> None:
        self._benchmark, self._kind, self._samples = benchmark, kind, samples
        self._parts = {benchmark: Aggregator(kind, samples)}

    def add(self, item: Row, rows: Sequence[Row]) -> None:
        """One item and its row of each sample."""
        self._parts[self._benchmark].add(item, rows)
        if "subset_for_metrics" in item:
            name = f"{self._benchmark}-{item['subset_for_metrics']}"
            if name not in self._parts:
                self._parts[name] = Aggregator(self._kind, self._samples)
            self._parts[name].add(item, rows)

    def metrics(self) -> dict[str, Metrics]:
        """What metrics.json holds. Raises ResultError when nothing was added."""
        return {name: part.metrics() for name, part in self._parts.items()}


class Aggregator:
    """The metrics of items that are added one after the other; keeps numbers, not rows.

    `kind` is a row of config/graders.py. Rows have the grader's fields and, where known,
    `num_generated_tokens`, `generation_start_time` and `generation_end_time` (seconds since the
    epoch).
    """

    def __init__(self, kind: str, samples: int) -> None:
        """Raises ResultError for a kind without an aggregation."""
        row = GRADERS.get(kind)
        if row is None or row.judged:
            raise ResultError(f"no aggregation is known for {kind!r}")
        self._kind, self._samples = row, samples
        self._common = Common()
        self._sums: dict[str, _Sums] = {}
        self._instructions = 0
        # Score -> one array for each sample: what the statistics are made of.
        self._scores: dict[str, list[array[float]]] = {}

    def add(self, item: Row, rows: Sequence[Row]) -> None:
        """One item and its row of each sample."""
        if len(rows) != self._samples:
            raise ResultError(f"an item has {len(rows)} graded rows for {self._samples} samples")
        self._common.add(rows)
        for name, field in (
            ("reasoning_tokens", reasoning_tokens),
            ("answer_tokens", answer_tokens),
        ):
            self._keep(name, [field(row) for row in rows])
        if self._kind.aggregation == "instructions":
            self._add_instructions(item, rows)
        else:
            self._add_correctness(rows)

    def metrics(self) -> Metrics:
        """`{aggregation: {metric: value}}`. Raises ResultError when nothing was added."""
        if not self._common.entries:
            raise ResultError("nothing to aggregate: no items or no samples")
        if self._kind.aggregation == "instructions":
            metrics = self._instruction_metrics()
        else:
            metrics = self._correctness_metrics()
        _add_statistics(metrics, self._scores, self._samples)
        # The same as pass@1.
        metrics.pop("pass@1[avg-of-1]", None)
        return metrics

    def _keep(self, name: str, values: Sequence[float]) -> None:
        runs = self._scores.setdefault(name, [array("d") for _ in range(self._samples)])
        for run, value in zip(runs, values, strict=True):
            run.append(value)

    def _sum(self, name: str) -> _Sums:
        return self._sums.setdefault(name, defaultdict(lambda: defaultdict(float)))

    def _add_correctness(self, rows: Sequence[Row]) -> None:
        sums = self._sum("")
        with_answers = self._kind.has_answers
        answers = [row["predicted_answer"] for row in rows] if with_answers else []
        scored = {m: [float(row[f]) for row in rows] for m, f in self._kind.scores.items()}
        for metric, values in scored.items():
            self._keep(metric, values)
            _add_pass(sums, metric, values)
        if with_answers:
            _add_no_answer(sums, answers)
            for metric, values in scored.items():
                _add_majority(sums, metric, answers, values)

    def _correctness_metrics(self) -> Metrics:
        common, entries = self._common.metrics(), self._common.entries
        return {
            aggregation: {**common, **{name: 100.0 * v / entries for name, v in values.items()}}
            for aggregation, values in self._sum("").items()
        }

    def _add_instructions(self, item: Row, rows: Sequence[Row]) -> None:
        self._instructions += len(item["instruction_id_list"])
        for level in ("strict", "loose"):
            evals = [row[f"{level}_eval"] for row in rows]
            followed = {
                "prompt": [float(each["follow_all_instructions"]) for each in evals],
                "instruction": [float(sum(each["follow_instruction_list"])) for each in evals],
            }
            for name, values in followed.items():
                # As in NeMo-Skills, the statistics are over the strict and the loose together.
                self._keep(name, values)
                _add_pass(self._sum(level), name, values)

    def _instruction_metrics(self) -> Metrics:
        common, entries = self._common.metrics(), self._common.entries
        metrics: Metrics = {}
        for aggregation in self._sum("strict"):
            accuracy = {
                f"{name}_{level}_accuracy": self._sum(level)[aggregation][name] / count * 100.0
                for level in ("strict", "loose")
                for name, count in (("prompt", entries), ("instruction", self._instructions))
            }
            metrics[aggregation] = {
                "num_prompts": entries,
                "num_instructions": self._instructions,
                "average_score": sum(accuracy.values()) / 4,
                **accuracy,
                **common,
            }
        return metrics


def _add_pass(sums: _Sums, metric: str, values: Sequence[float]) -> None:
    """Add one entry's pass@k and pass@1[avg-of-k] for every k.

    Scores of 0 and 1 count by the unbiased estimate 1 - C(n-c, k) / C(n, k); others (numbers of
    followed instructions) by the best of the first k.
    """
    n, binary = len(values), all(value in (0, 1) for value in values)
    wrong = n - int(sum(values))
    for k in range(1, n + 1):
        if not binary:
            score = max(values[:k])
        elif wrong < k:
            score = 1.0
        else:
            score = 1.0 - math.comb(wrong, k) / math.comb(n, k)
        sums[f"pass@{k}"][metric] += score
        sums[f"pass@1[avg-of-{k}]"][metric] += sum(values[:k]) / k


def _add_no_answer(sums: _Sums, answers: Sequence[str | None]) -> None:
    for k in range(1, len(answers) + 1):
        missing = [answer is None for answer in answers[:k]]
        sums[f"pass@{k}"]["no_answer"] += all(missing)
        sums[f"pass@1[avg-of-{k}]"]["no_answer"] += sum(missing) / k


def _add_majority(
    sums: _Sums, metric: str, answers: Sequence[str | None], values: Sequence[float]
) -> None:
    """Add one entry's majority@k: the commonest answers' mean score, no answers left out."""
    for k in range(2, len(answers) + 1):
        votes = Counter(
            pair for pair in zip(answers[:k], values[:k], strict=True) if pair[0] is not None
        )
        most = max(votes.values(), default=0)
        winners = [score for (_, score), count in votes.items() if count == most]
        sums[f"majority@{k}"][metric] += sum(winners) / len(winners) if winners else 0.0
        sums[f"majority@{k}"]["no_answer"] += not votes


def _add_statistics(
    metrics: Metrics, scores: Mapping[str, Sequence[Sequence[float]]], samples: int
) -> None:
    for name, runs in scores.items():
        for k in range(2, samples + 1):
            first = runs[:k]
            means = [_mean(run) for run in first]
            spread = _deviation(means)
            metrics[f"pass@1[avg-of-{k}]"][f"{name}_statistics"] = {
                "avg": _mean([math.fsum(values) / k for values in zip(*first, strict=True)]),
                "std_dev_across_runs": spread,
                "avg_sample_std_dev": _mean([_deviation(v) for v in zip(*first, strict=True)]),
                "std_err_across_runs": spread / math.sqrt(k),
            }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1 in the denominator)."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
