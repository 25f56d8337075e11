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
from harness.compute.evaluate.answers.finish import ending
from harness.compute.evaluate.endpoint.replies import REASONING
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
    aborted: int = 0
    endings: set[str] = field(default_factory=set)
    """The words by which aborted answers ended."""
    truncated: int = 0
    empty: int = 0
    """No text, and none that was thought."""
    thought: int = 0
    """No text, but one that was thought apart, and not cut while thinking."""
    contentless: int = 0
    """No text in any turn."""
    kept_apart: int = 0
    """Of those, the ones whose text was thought."""
    lowered: int = 0
    """The context had less room than max_tokens."""
    same: bool = True
    """Every answer so far is the same text."""
    _first: tuple[str, str] | None = None

    def add(self, row: Row) -> None:
        """Count an answer: `generation`, `reasoning`, `finish_reason`, `error`."""
        self.answers += 1
        if "error" in row:
            self.errors += 1
            self.first_error = self.first_error or _printable(row["error"])
        else:
            self._add_ending(row)
        text = (row.get("generation") or "", next((row[n] for n in REASONING if row.get(n)), ""))
        if self._first is None:
            self._first = text
        self.same = self.same and text == self._first

    def _add_ending(self, row: Row) -> None:
        how = ending(row.get("finish_reason"))
        self.truncated += how == "cut"
        if how == "aborted":
            self.aborted += 1
            self.endings.add(_printable(row["finish_reason"]))
        self.lowered += "max_tokens_lowered_to" in row
        texts = row.get("generations") or [row.get("generation") or ""]
        blank = [not text.strip() for text in texts]
        thought = any(row.get(name) for name in REASONING)
        self.contentless += all(blank)
        self.kept_apart += all(blank) and thought
        if any(blank):
            self.thought += thought and how == "whole"
            self.empty += not thought

    def counts(self) -> dict[str, int]:
        """For task.json: how many answers there are of each kind that is told apart."""
        names = ("answers", "errors", "aborted", "truncated", "empty", "thought", "lowered")
        return {name: getattr(self, name) for name in names}


def _printable(value: Any) -> str:
    """Of another program's row, perhaps: half a surrogate pair can be neither printed nor saved."""
    return str(value).encode("utf-8", "replace").decode()


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
    answered = count.answers - count.errors
    nothing = count.contentless == answered
    by = ", ".join(sorted(count.endings)[:3])
    shares = [
        (count.errors, gates.max_error_share, "invalid",
         f"requests failed, e.g. {count.first_error}"),
        (count.aborted, gates.max_aborted_share, gates.aborted,
         f"answers were aborted (finish_reason {by})"),
        (count.truncated, gates.max_truncated_share, gates.truncated,
         "answers were cut at max_tokens"),
        (count.lowered, 1.0, "warn",
         "answers had less room than max_tokens: the context has no more beside their prompts"),
    ]  # fmt: skip
    if not nothing:
        shares += [
            (count.empty, gates.max_empty_share, gates.empty, "answers are empty"),
            (count.thought, gates.max_thought_share, gates.thought,
             "answers have no content: a reasoning parser kept their text"),
        ]  # fmt: skip
    for number, share, verdict, told in shares:
        if number:
            found.hit(verdict if number > share * expected else "warn",
                      f"{number} of {expected} {told}")  # fmt: skip
    if nothing:
        thought = ": a reasoning parser kept their text" if count.kept_apart else ""
        if answered or not found.reasons:
            found.reasons.append(f"every answer is empty{thought}")
    elif count.same and expected > 2:
        found.hit(gates.identical, "every answer is the same text")
    return found


def all_answers_verdict(tallies: Iterable[Tally], expected: int, gates: GatesSpec) -> Verdict:
    """The gates of every repeat's answers."""
    found = Verdict()
    for count in tallies:
        found.join(answers_verdict(count, expected, gates))
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


def model_verdict(
    model: Path, expected: str, served_name: str, trained: str | None, gates: GatesSpec
) -> Verdict:
    """The gates of the model that was asked: the planned one, to its end, with its own template."""
    found = Verdict()
    for text in (changed_model(model, expected), foreign_name(served_name, expected)):
        found.reasons += [text] if text else []
    if text := other_template(model, trained):
        found.hit(gates.template, text)
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
