"""The one schema of results, and what became of each cell.

metrics.json: `{benchmark: {aggregation: {metric: value}}}`, as NeMo-Skills writes it. A value is
a number, a list of numbers (a confidence interval) or a dictionary of numbers (statistics).
task.json beside it: state, reason, times, and where the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from harness.config.base import Frozen
from harness.errors import ResultError
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.paths import CellPaths

Metrics = dict[str, dict[str, dict[str, Any]]]
CellState = Literal["waiting", "queued", "running", "ok", "invalid", "failed", "missing", "stale"]


class TaskRecord(Frozen):
    """task.json: what became of one cell, and the origin of its numbers."""

    state: Literal["running", "answered", "ok", "invalid", "failed", "missing"]
    """`answered`: all answers are there, and a job of its own has them judged."""
    reason: str = ""
    log: str = ""
    job_id: str = ""
    started: str = ""
    ended: str = ""
    facts: dict[str, Any] = {}
    """Items, engine, versions, fingerprint, sampling, prompts' hash, seconds by phase, …"""

    @property
    def is_answered(self) -> bool:
        """Whether all that a cell still needs is its judge, in a job of its own."""
        return self.state == "answered" or bool(self.facts.get("answers_kept"))


def read_task(cell: CellPaths) -> TaskRecord | None:
    """task.json of a cell; None if there is none. Raises ResultError when it is unreadable."""
    if not cell.task.is_file():
        return None
    try:
        return TaskRecord.model_validate(read_json(cell.task))
    except ValidationError as error:
        raise ResultError(f"{cell.task}: not a task record: {error.errors()[0]['msg']}") from None


def write_task(cell: CellPaths, record: TaskRecord) -> None:
    """Write task.json of a cell."""
    write_json(cell.task, record.model_dump(mode="json", exclude_defaults=True))


def record_missing(cell: CellPaths, reason: str, log: str) -> None:
    """Write down that a cell's checkpoint was never written.

    The one place that says so. A cell that has metrics keeps them: they are of its checkpoint,
    which was there then and has been pruned or deleted since.
    """
    known = read_task(cell)
    if known is not None and known.state == "ok" and cell.metrics.is_file():
        return
    now = utc_now()
    write_task(cell, TaskRecord(state="missing", reason=reason, log=log, started=now, ended=now))


def record_failed(cell: CellPaths, reason: str, log: str) -> None:
    """Write down why a task gave up a cell that it knows by its place alone.

    A cell that has a result keeps it, and what an earlier job knew of its answers stays known.
    """
    if has_result(cell):
        return
    now = utc_now()
    try:
        known = read_task(cell)
    except ResultError:
        known = None
    told = {"state": "failed", "reason": reason, "log": log, "ended": now}
    write_task(cell, (known or TaskRecord(state="failed", started=now)).model_copy(update=told))


def has_result(cell: CellPaths) -> bool:
    """Whether a cell says ok and has metrics. False where its record cannot be read."""
    try:
        known = read_task(cell)
    except ResultError:
        return False
    return known is not None and known.state == "ok" and cell.metrics.is_file()


def read_metrics(path: Path) -> Metrics:
    """A metrics file, checked against the schema.

    Raises ResultError, naming file and key, for anything else.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not data:
        raise ResultError(f"{path}: no benchmark in it")
    for benchmark, aggregations in data.items():
        if not isinstance(aggregations, dict):
            raise ResultError(
                f"{path}: {benchmark}: {{aggregation: {{metric: value}}}} is expected"
            )
        for aggregation, values in aggregations.items():
            if not isinstance(values, dict):
                raise ResultError(
                    f"{path}: {benchmark}/{aggregation}: {{metric: value}} is expected"
                )
            for metric, value in values.items():
                _check_value(f"{path}: {benchmark}/{aggregation}/{metric}", value)
    return data


def _check_value(where: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_value(f"{where}/{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            _check_value(where, inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ResultError(f"{where}: {value} is not a finite number")
    elif value is not None and not isinstance(value, int | float | str):
        raise ResultError(f"{where}: {type(value).__name__} is no value of a metric")


def flatten(metrics: Metrics) -> Iterator[tuple[str, int | float | str | None]]:
    """`<benchmark>/<aggregation>/<metric>` and its value, in the file's order.

    Inside a dictionary the path goes on; a pair becomes `…_low` and `…_high`, another list
    `…_0`, `…_1`, ….
    """
    for benchmark, aggregations in metrics.items():
        for aggregation, values in aggregations.items():
            for metric, value in values.items():
                yield from _flatten(f"{benchmark}/{aggregation}/{metric}", value)


def _flatten(path: str, value: Any) -> Iterator[tuple[str, int | float | str | None]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{path}/{key}", inner)
    elif isinstance(value, list):
        endings = ("low", "high") if len(value) == 2 else tuple(map(str, range(len(value))))
        for ending, inner in zip(endings, value, strict=True):
            yield from _flatten(f"{path}_{ending}", inner)
    else:
        yield path, value
