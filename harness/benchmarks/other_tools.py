"""Results files of lm-eval and of lighteval, in our schema.

lm-eval 0.4.13: `results` by task with `<metric>,<filter>` (0.3: `<metric>`), of groups too, whose
tasks stand in `group_subtasks`; `n-samples` has `original` and `effective` numbers of items.
lighteval 0.13: `results` by `<suite>|<task>|<shots>` (since 0.11 without a suite), with averages as
`<task>:_average|<shots>` and `all`; numbers of items in `config_tasks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import ResultError
from harness.runs.files import read_json
from harness.runs.metrics import Metrics, clean_value

LM_EVAL, LIGHTEVAL = "lm-eval", "lighteval"
_ONLY_LM_EVAL = frozenset(
    ["versions", "n-shot", "n-samples", "configs", "config", "higher_is_better"]
)
_NO_METRICS = frozenset(["alias", "name", "sample_len", "sample_count", "samples"])
_SHARE = re.compile(
    r"(?:.*[_-])?(?:acc(?:uracy)?(?:_(?:norm|norm_nospace|bytes|mutual_info|all|token|char|pmi))?"
    r"|[pq]?q?em|exact_match|extractive_match|f1|mcc|mc[12]|contains"
    r"|(?:g-)?pass@(?:k|n|\d+)|(?:avg|maj)@(?:k|n|\d+))"
)
"""Metrics that both programs give as 0..1, up to the first `:` of their name."""


@dataclass(frozen=True)
class ToolResults:
    """One results file, read."""

    tool: str
    model: str
    """The model as the file names it; empty where it does not."""
    metrics: Metrics
    """By `<tool>.<task>`: percentages where a metric is a share of 0..1, other scores as they are.
    The filter `none` is the aggregation `pass@1`, another `pass@1[<filter>]`."""
    odd: list[str] = field(default_factory=list)
    """`key: why` of each value that is none."""
    cut: list[str] = field(default_factory=list)
    """`task: so many of so many items` of tasks that were not asked whole."""


def read_tool_results(path: Path | str) -> ToolResults:
    """A results file. Raises ResultError where it is neither program's, or has no metric."""
    data = read_json(path)
    tool = tool_of(data)
    if not tool:
        raise ResultError(f"{path}: neither lm-eval's nor lighteval's results")
    found = lm_eval_results(data) if tool == LM_EVAL else lighteval_results(data)
    if not found.metrics:
        raise ResultError(f"{path}: no metric in it")
    return found


def tool_of(data: Any) -> str:
    """Which program wrote a results file; empty for none of these."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), dict):
        return ""
    if isinstance(data.get("config_general"), dict):
        return LIGHTEVAL
    return LM_EVAL if _ONLY_LM_EVAL & data.keys() else ""


def lm_eval_results(data: Mapping[str, Any]) -> ToolResults:
    """What lm-eval's results file holds."""
    odd: list[str] = []
    counts = {name: _count(n, "effective") for name, n in _table(data, "n-samples").items()}
    groups = _table(data, "group_subtasks")
    metrics: Metrics = {}
    for name, values in data["results"].items():
        mapped = _aggregations(values, name, odd)
        entries = counts.get(name) or _count(values, "sample_len") or _sum(name, groups, counts)
        if mapped:
            metrics[f"{LM_EVAL}.{name}"] = _with_entries(mapped, entries)
        elif not groups.get(name):
            odd.append(f"{name}: no metric of its own")
    originals = {name: _count(n, "original") for name, n in _table(data, "n-samples").items()}
    model = data.get("model_name") or ""
    return ToolResults(LM_EVAL, str(model), metrics, odd, _cut(counts, originals))


def lighteval_results(data: Mapping[str, Any]) -> ToolResults:
    """What lighteval's results file holds; `all` only where it is an average of several tasks."""
    odd: list[str] = []
    configs = _table(data, "config_tasks")
    counts = {name: _count(c, "effective_num_docs") for name, c in configs.items()}
    originals = {name: _count(c, "original_num_docs") for name, c in configs.items()}
    metrics: Metrics = {}
    results = data["results"]
    for name, values in results.items():
        if name == "all" and len(results) == 2:
            continue
        mapped = _aggregations(values, name, odd)
        if mapped:
            short = name.removeprefix("lighteval|")
            metrics[f"{LIGHTEVAL}.{short}"] = _with_entries(mapped, counts.get(name))
        else:
            odd.append(f"{name}: no metric in it")
    general = data["config_general"]
    model = general.get("model_name") or _table(general, "model_config").get("model_name") or ""
    return ToolResults(LIGHTEVAL, str(model), metrics, odd, _cut(counts, originals))


def _aggregations(values: Any, where: str, odd: list[str]) -> dict[str, dict[str, Any]]:
    if not isinstance(values, dict):
        odd.append(f"{where}: {{metric: value}} is expected")
        return {}
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        metric, comma, chosen = key.partition(",")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if metric in _NO_METRICS or not metric.strip() or (not comma and not number):
            continue
        if metric.endswith("_stderr") and (value is None or isinstance(value, str)):
            continue  # "N/A": there is no estimate of it
        kept = found.setdefault("pass@1" if chosen in ("", "none") else f"pass@1[{chosen}]", {})
        if metric in kept:
            odd.append(f"{where}/{key}: is there twice; the last counts")
        kept[metric] = clean_value(value, f"{where}/{key}", odd)
    _scale(found)
    return found


def _scale(aggregations: Mapping[str, dict[str, Any]]) -> None:
    """Shares become percentages, with their standard errors, unless a task gives percentages."""
    places = [
        (values, metric)
        for values in aggregations.values()
        for metric, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_share(metric)
    ]
    if all(abs(values[metric]) <= 1 for values, metric in places):
        for values, metric in places:
            values[metric] *= 100


@lru_cache(maxsize=4096)
def _is_share(metric: str) -> bool:
    return bool(_SHARE.fullmatch(metric.removesuffix("_stderr").partition(":")[0]))


def _with_entries(
    aggregations: Mapping[str, dict[str, Any]], entries: int | None
) -> dict[str, dict[str, Any]]:
    first = {} if entries is None else {"num_entries": entries}
    return {name: {**first, **values} for name, values in aggregations.items()}


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: Any, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    whole = isinstance(found, int) and not isinstance(found, bool) and found > 0
    return found if whole else None


def _sum(
    group: str, groups: Mapping[str, Any], counts: Mapping[str, int | None], depth: int = 0
) -> int | None:
    """Items of a group's tasks; None where one of them is not known."""
    if counts.get(group):
        return counts[group]
    tasks = groups.get(group)
    if not isinstance(tasks, list) or not tasks or depth > len(groups):
        return None
    parts = [_sum(str(task), groups, counts, depth + 1) for task in tasks]
    return None if None in parts else sum(n for n in parts if n)


def _cut(counts: Mapping[str, int | None], originals: Mapping[str, int | None]) -> list[str]:
    return [
        f"{name}: {count:,} of {whole:,} items"
        for name, count in counts.items()
        if count and (whole := originals.get(name)) and count < whole
    ]
