"""What every evaluator is to a cell: prepare, run, metrics.

Tested through tests/compute/evaluate/evaluators/test_builtin.py and
tests/compute/evaluate/evaluators/test_program.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.compute.evaluate.gates import Tally
from harness.compute.serve.server import RunningServer
from harness.runs.metrics import Metrics


@dataclass(frozen=True)
class Outcome:
    """What an evaluator found, before the gates."""

    metrics: Metrics
    """The one schema; empty where there is nothing worth grading (then `reason` says why)."""
    tallies: Sequence[Tally]
    """Of each repeat's answers."""
    reason: str = ""
    """Why this is no result, as far as the evaluator itself can tell."""
    warnings: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For task.json: versions of what graded, a judge's usage, a command, …"""
    items: int = 0
    """Expected number, where only the program that asked knows it; 0: it stands in `inputs`."""


class Evaluator(Protocol):
    """One benchmark of one model, by one backend.

    The cell around it starts no server, knows no file of answers and no grade: it calls `prepare`
    once, `run` with a server (again with another when the first one died), then `metrics`; it
    applies the gates and writes metrics.json and task.json.
    """

    @property
    def backend(self) -> str:
        """`builtin`, `nemo-skills` or `lm-eval`."""
        ...

    @property
    def failed_requests(self) -> int:
        """Of the last `run`: requests that got no answer; 0 where that cannot be told."""
        ...

    def prepare(self) -> None:
        """See that all is on disk that `run` and `metrics` need.

        Raises EvaluationError, with the command that prepares it.
        """
        ...

    def inputs(self) -> Mapping[str, Any]:
        """All that the answers depend on beside model, server and sampling: items, prompts, …

        Results and answers of other inputs are not reused. `items` is the expected number,
        where it is known before.
        """
        ...

    def has_answers(self, settled: bool | None = None) -> bool:
        """Whether every answer is on disk already: then no server is needed.

        `settled`: whether an item whose request failed counts; unset: as the evaluator was made.
        """
        ...

    def run(self, server: RunningServer | None) -> None:
        """Every answer on disk; what is there already is not asked again.

        Raises ServerError when the server dies, EvaluationError when answers cannot be had.
        """
        ...

    def metrics(self) -> Outcome:
        """Grade what `run` left. No server is needed any more.

        Raises EvaluationError when it cannot be graded; answers stay.
        """
        ...
