"""Grades of all rows -> the metrics of NeMo-Skills' metrics.json, number for number.

Pure. Source of every rule: NeMo-Skills 0.7.0 `evaluation/metrics/base.py`, `math_metrics.py`,
`code_metrics.py`, `if_metrics.py` and `compute_metrics.py`. Percentages are floats that are not
rounded; `avg_tokens` (tokens) and `gen_seconds` (seconds) are cut to integers; `*_statistics` are
on the scale of the score itself (0..1 for correctness).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import ResultError

Row = Mapping[str, Any]
Metrics = dict[str, dict[str, Any]]
# Aggregation -> score -> sum over all entries.
_Sums = defaultdict[str, defaultdict[str, float]]

# Which field of a row each metric comes from.
_SCORES = {
    "math": {"symbolic_correct": "symbolic_correct"},
    "multiple_choice": {"symbolic_correct": "symbolic_correct"},
    "code:human-eval": {
        "passing_base_tests": "is_correct",
        "passing_plus_tests": "is_correct-plus",
    },
    "code:mbpp": {"passing_base_tests": "is_correct", "passing_plus_tests": "is_correct-plus"},
}
_WITH_ANSWERS = frozenset({"math", "multiple_choice"})


def benchmark_metrics(
    benchmark: str, kind: str, items: Sequence[Row], samples: Sequence[Sequence[Row]]
) -> dict[str, Metrics]:
    """What metrics.json holds: the benchmark, and `<benchmark>-<subset>` for each subset.

    Subsets come from the items' `subset_for_metrics`, in order of appearance (mmlu has them).
    Other arguments and errors: see `aggregate`.
    """
    metrics = {benchmark: aggregate(kind, items, samples)}
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if "subset_for_metrics" in item:
            members[item["subset_for_metrics"]].append(index)
    for subset, indices in members.items():
        metrics[f"{benchmark}-{subset}"] = aggregate(
            kind, [items[i] for i in indices], [[sample[i] for i in indices] for sample in samples]
        )
    return metrics


def aggregate(kind: str, items: Sequence[Row], samples: Sequence[Sequence[Row]]) -> Metrics:
    """`{aggregation: {metric: value}}` of one benchmark.

    `kind` is a name in `GRADERS`; `samples[k][i]` is the row of sample k of item i, with the
    grader's fields and, where known, `num_generated_tokens`, `generation_start_time` and
    `generation_end_time` (seconds since the epoch).

    Raises:
        ResultError: no items, no samples, or a sample that does not have every item.
    """
    if not items or not samples:
        raise ResultError("nothing to aggregate: no items or no samples")
    if wrong := [len(sample) for sample in samples if len(sample) != len(items)]:
        raise ResultError(f"a sample has {wrong[0]} graded rows for {len(items)} items")
    entries = [list(rows) for rows in zip(*samples, strict=True)]
    scores: defaultdict[str, list[list[float]]] = defaultdict(list)
    for name, counts in zip(
        ("reasoning_tokens", "answer_tokens"), _token_counts(entries), strict=True
    ):
        scores[name] = counts
    if kind == "ifeval":
        metrics = _instruction_metrics(items, entries, scores)
    else:
        metrics = _correctness_metrics(kind, entries, scores)
    _add_statistics(metrics, scores, len(samples))
    # The same as pass@1.
    metrics.pop("pass@1[avg-of-1]", None)
    return metrics


def _correctness_metrics(
    kind: str, entries: Sequence[Sequence[Row]], scores: dict[str, list[list[float]]]
) -> Metrics:
    if kind not in _SCORES:
        raise ResultError(f"no aggregation is known for {kind!r}")
    sums: _Sums = defaultdict(lambda: defaultdict(float))
    for rows in entries:
        answers = [row["predicted_answer"] for row in rows] if kind in _WITH_ANSWERS else None
        for metric, field in _SCORES[kind].items():
            values = [float(row[field]) for row in rows]
            scores.setdefault(metric, []).append(values)
            _add_pass(sums, metric, values)
        if answers is not None:
            _add_no_answer(sums, answers)
            for metric, field in _SCORES[kind].items():
                _add_majority(sums, metric, answers, [float(row[field]) for row in rows])
    common = common_metrics(entries)
    return {
        aggregation: {
            **common,
            **{name: 100.0 * value / len(entries) for name, value in values.items()},
        }
        for aggregation, values in sums.items()
    }


def _instruction_metrics(
    items: Sequence[Row], entries: Sequence[Sequence[Row]], scores: dict[str, list[list[float]]]
) -> Metrics:
    total = sum(len(item["instruction_id_list"]) for item in items)
    strictness: dict[str, _Sums] = {}
    for level in ("strict", "loose"):
        sums = strictness[level] = defaultdict(lambda: defaultdict(float))
        for rows in entries:
            evals = [row[f"{level}_eval"] for row in rows]
            followed = {
                "prompt": [float(each["follow_all_instructions"]) for each in evals],
                "instruction": [float(sum(each["follow_instruction_list"])) for each in evals],
            }
            for name, values in followed.items():
                # As in NeMo-Skills, the statistics are over the strict and the loose together.
                scores.setdefault(name, []).append(values)
                _add_pass(sums, name, values)
    metrics: Metrics = {}
    for aggregation in strictness["strict"]:
        accuracy = {
            f"{name}_{level}_accuracy": sums[aggregation][name] / count * 100.0
            for level, sums in strictness.items()
            for name, count in (("prompt", len(items)), ("instruction", total))
        }
        metrics[aggregation] = {
            "num_prompts": len(items),
            "num_instructions": total,
            "average_score": sum(accuracy.values()) / 4,
            **accuracy,
            **common_metrics(entries),
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


def common_metrics(entries: Sequence[Sequence[Row]]) -> dict[str, int]:
    """num_entries and, where the rows tell, avg_tokens and gen_seconds; `entries[i]` is item i's rows."""
    common = {"num_entries": len(entries)}
    tokens = sum(
        sum(row.get("num_generated_tokens", 0) for row in rows) / len(rows) for rows in entries
    )
    if tokens > 0:
        common["avg_tokens"] = int(tokens / len(entries))
    rows = [row for group in entries for row in group]
    starts = [row["generation_start_time"] for row in rows if "generation_start_time" in row]
    ends = [row["generation_end_time"] for row in rows if "generation_end_time" in row]
    if starts and ends:
        common["gen_seconds"] = int(max(ends) - min(starts))
    return common


def _token_counts(
    entries: Sequence[Sequence[Row]],
) -> tuple[list[list[float]], list[list[float]]]:
    """Tokens of reasoning and of the answer; without that division all count as the answer's."""
    reasoning = [[row.get("num_reasoning_tokens", 0) for row in rows] for rows in entries]
    answer = [
        [
            row.get("num_answer_tokens", 0)
            or (0 if row.get("num_reasoning_tokens", 0) else row.get("num_generated_tokens", 0))
            for row in rows
        ]
        for rows in entries
    ]
    return reasoning, answer


def _add_statistics(
    metrics: Metrics, scores: Mapping[str, list[list[float]]], samples: int
) -> None:
    for name, entries in scores.items():
        for k in range(2, samples + 1):
            cut = [values[:k] for values in entries]
            runs = [_mean([values[run] for values in cut]) for run in range(k)]
            spread = _deviation(runs)
            metrics[f"pass@1[avg-of-{k}]"][f"{name}_statistics"] = {
                "avg": _mean([_mean(values) for values in cut]),
                "std_dev_across_runs": spread,
                "avg_sample_std_dev": _mean([_deviation(values) for values in cut]),
                "std_err_across_runs": spread / math.sqrt(k),
            }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1 in the denominator)."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
