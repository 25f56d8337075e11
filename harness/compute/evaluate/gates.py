"""Validity gates: what must hold before a result counts. A hit names its reason.

Not all gates stand here: the number of items is checked against the prepared data by whoever loads
it, and each answer that is missing raises an error. Thresholds: `evaluation.gates` of the spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.benchmarks.registry import Benchmark
from harness.config.gates import GatesSpec
from harness.errors import ResultError
from harness.runs.checkpoints import fingerprint

Row = Mapping[str, Any]


@dataclass
class Tally:
    """What the gates must know of one repeat's answers, counted one by one."""

    answers: int = 0
    errors: int = 0
    first_error: str = ""
    truncated: int = 0
    empty: int = 0
    same: bool = True
    """Every answer so far is the same text."""
    _first: tuple[str, str] | None = None

    def add(self, row: Row) -> None:
        """Count an answer: `generation`, `reasoning_content`, `finish_reason`, `error`."""
        self.answers += 1
        if "error" in row:
            self.errors += 1
            self.first_error = self.first_error or str(row["error"])
        self.truncated += row.get("finish_reason") == "length"
        text = (row.get("generation") or "", row.get("reasoning_content") or "")
        self.empty += text == ("", "")
        if self._first is None:
            self._first = text
        self.same = self.same and text == self._first


def tally(rows: Iterable[Row]) -> Tally:
    """The count of rows in memory."""
    count = Tally()
    for row in rows:
        count.add(row)
    return count


@dataclass
class Verdict:
    """What the gates found."""

    reasons: list[str] = field(default_factory=list)
    """Why this cannot be a result; empty when it can."""
    warnings: list[str] = field(default_factory=list)
    """What a reader of the number should know."""

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    def join(self, other: Verdict) -> None:
        """Take over what another look found; the same text once."""
        self.reasons += [text for text in other.reasons if text not in self.reasons]
        self.warnings += [text for text in other.warnings if text not in self.warnings]

    def hit(self, kind: str, text: str) -> None:
        """Note a hit of a gate that the spec sets to `warn` or `invalid`."""
        (self.reasons if kind == "invalid" else self.warnings).append(text)


def answers_verdict(count: Tally, expected: int, gates: GatesSpec) -> Verdict:
    """The gates of one repeat's answers."""
    found = Verdict()
    if count.answers != expected:
        found.reasons.append(f"{count.answers} answers for {expected} items")
        return found
    if count.errors:
        many = count.errors > gates.max_error_share * expected
        told = f"{count.errors} of {expected} requests failed, e.g. {count.first_error}"
        found.hit("invalid" if many else "warn", told)
    if count.empty == expected:
        found.reasons.append("every answer is empty")
    elif count.same and expected > 2:
        found.hit(gates.identical, "every answer is the same text")
    elif count.empty > gates.max_empty_share * expected:
        found.hit(gates.empty, f"{count.empty} of {expected} answers are empty")
    if count.truncated > gates.max_truncated_share * expected:
        found.hit(
            gates.truncated, f"{count.truncated} of {expected} answers were cut at max_tokens"
        )
    return found


def metrics_verdict(
    benchmark: Benchmark, metrics: Mapping[str, Mapping[str, Any]], expected: int, gates: GatesSpec
) -> Verdict:
    """The gates of one benchmark's metrics: `{aggregation: {metric: value}}`."""
    found = Verdict()
    counted = {n: v["num_entries"] for n, v in metrics.items() if "num_entries" in v}
    for aggregation, entries in counted.items():
        if entries != expected:
            found.reasons.append(f"{aggregation} counts {entries} entries for {expected} items")
    if metrics.get("pass@1", {}).get(benchmark.headline) == 0:
        found.hit(gates.zero, f"{benchmark.headline} is exactly 0")
    return found


def changed_model(model: Path, expected: str) -> str:
    """Why a model folder is not (or no longer) the one that was served; empty when it is."""
    try:
        now = fingerprint(model)
    except (OSError, ResultError) as error:
        return f"the model folder cannot be read after the answers: {error}"
    if now != expected:
        return f"the model changed while it was evaluated: it was {expected}, and is {now} now"
    return ""


def foreign_name(served_name: str, expected: str) -> str:
    """Why a server's model name tells of another model; empty where it tells of none."""
    _, at, told = served_name.rpartition("@")
    if at and len(told) == len(expected) and told != expected:
        return f"the server served {told}, and the model is {expected}"
    return ""


def other_template(model: Path, trained: str | None) -> str:
    """Why a model's chat template is not the text that it was trained with; empty when it is.

    `trained` None: the run trained with the model's own template, whatever it is.
    """
    if trained is None:
        return ""
    file = model / "chat_template.jinja"
    try:
        own = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"{model.name} has no chat_template.jinja, and a template was trained with"
    if own.strip() != trained.strip():
        return "the checkpoint's chat template is not the one that the run trained with"
    return ""
