"""The one schema of results, and what became of each cell.

metrics.json: `{benchmark: {aggregation: {metric: value}}}`, as NeMo-Skills writes it. A value is
a number, a list of numbers (a confidence interval) or a dictionary of numbers (statistics).
task.json beside it: state, reason, times, and where the numbers come from.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from harness.config.base import Frozen
from harness.config.reading.words import checked
from harness.errors import ResultError
from harness.runs.files import parse_json, read_json, utc_now, write_json
from harness.runs.paths import CellPaths

Metrics = dict[str, dict[str, dict[str, Any]]]
_DEEPEST = 16
"""Levels of dictionaries and lists inside a metric's value that are read."""
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
    path = cell.task
    try:
        with open(path, "rb") as file:
            return TaskRecord.model_validate_json(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError:
        return checked(TaskRecord, read_json(path), path, "task record")  # in our own words


def write_task(cell: CellPaths, record: TaskRecord) -> None:
    """Write task.json of a cell."""
    write_json(cell.task, record.model_dump(mode="json", exclude_defaults=True))


def record_absent(cell: CellPaths, reason: str, log: str, written: bool) -> None:
    """Write down that a cell's checkpoint is not there: never written, or `written` and deleted.

    The one place that says so. A cell that has metrics keeps them: they are of its checkpoint,
    which was there then and has been pruned or deleted since.
    """
    with suppress(ResultError):  # what cannot be read is no result
        known = read_task(cell)
        if known is not None and known.state == "ok" and cell.metrics.is_file():
            return
    state: Literal["failed", "missing"] = "failed" if written else "missing"
    reason = "its checkpoint was deleted" if written else reason
    now = utc_now()
    write_task(cell, TaskRecord(state=state, reason=reason, log=log, started=now, ended=now))


def read_result(cell: CellPaths, benchmark: str, record: TaskRecord) -> Metrics:
    """The metrics of a cell that says ok.

    Raises ResultError when they are missing, unreadable, of something else, or not those that were
    written when it became ok.
    """
    try:
        text = cell.metrics.read_bytes()
    except OSError as error:
        raise ResultError(f"{cell.metrics}: cannot be read: {error.strerror}") from None
    metrics = parse_metrics(cell.metrics, text)
    if benchmark not in metrics:
        raise ResultError(f"{cell.metrics}: has no {benchmark}")
    known = record.facts.get("metrics_sha256")
    if known and hashlib.sha256(text).hexdigest() != known:
        raise ResultError(f"{cell.metrics}: was changed after it was written")
    return metrics


def write_metrics(cell: CellPaths, metrics: Metrics) -> str:
    """Write a cell's metrics; returns their SHA-256, for task.json."""
    write_json(cell.metrics, metrics)
    return hashlib.sha256(cell.metrics.read_bytes()).hexdigest()


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
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_metrics(path, text)


def parse_metrics(path: Path, text: bytes) -> Metrics:
    """The same, of a file's text."""
    metrics, odd = _checked(path, parse_json(path, text))
    if odd:
        raise ResultError(f"{path}: {odd[0]}")
    return metrics


def read_values(path: Path | str) -> tuple[Metrics, list[str]]:
    """What of a metrics file is in the schema, and `key: why` of whatever else it holds.

    A value that is none becomes None, and its neighbours stay. Raises ResultError when there is
    nothing of the schema in the file.
    """
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(
                f"{n}: is there twice; the last counts" for n in found if names.count(n) > 1
            )
        return found

    metrics, odd = _checked(path, read_json(path, once))
    return metrics, twice + odd


def _checked(path: Path | str, data: Any) -> tuple[Metrics, list[str]]:
    if not isinstance(data, dict) or not data:
        raise ResultError(f"{path}: no benchmark in it")
    odd = _cleaned(data)
    if not data:
        raise ResultError(f"{path}: {odd[0]}")
    return data, odd


def _cleaned(data: dict[str, Any]) -> list[str]:
    """Takes out of `data` what is not in the schema, and says what that was."""
    odd = []
    for benchmark, aggregations in list(data.items()):
        if not isinstance(aggregations, dict):
            odd.append(f"{benchmark}: {{aggregation: {{metric: value}}}} is expected")
            del data[benchmark]
            continue
        for aggregation, values in list(aggregations.items()):
            if not isinstance(values, dict):
                odd.append(f"{benchmark}/{aggregation}: {{metric: value}} is expected")
                del aggregations[aggregation]
                continue
            for metric, value in values.items():
                if type(value) is not int and (type(value) is not float or value - value != 0):
                    where = f"{benchmark}/{aggregation}/{metric}"
                    values[metric] = clean_value(value, where, odd)
    return odd


def clean_value(value: Any, where: str, odd: list[str], depth: int = 0) -> Any:
    """A value with None for whatever in it is no value; why is added to `odd`."""
    if isinstance(value, dict | list) and depth == _DEEPEST:
        odd.append(f"{where}: is nested too deeply")
        return None
    if isinstance(value, dict):
        return {k: clean_value(v, f"{where}/{k}", odd, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [clean_value(v, where, odd, depth + 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        odd.append(f"{where}: {value} is not a finite number")
        return None
    return value


def flatten(metrics: Metrics) -> Iterator[tuple[str, int | float | str | None]]:
    """`<benchmark>/<aggregation>/<metric>` and its value, in the file's order.

    Inside a dictionary the path goes on; a pair becomes `…_low` and `…_high`, another list
    `…_0`, `…_1`, …. A / in the name of a benchmark or an aggregation is written %2F.
    """
    for benchmark, aggregations in metrics.items():
        for aggregation, values in aggregations.items():
            for metric, value in values.items():
                name = _column(benchmark, aggregation, metric)
                if isinstance(value, dict | list):
                    yield from _flatten(name, value)
                else:
                    yield name, value


@lru_cache(maxsize=1 << 16)
def _column(benchmark: str, aggregation: str, metric: str) -> str:
    """One string for all rows that have this column."""
    return "/".join((benchmark.replace("/", "%2F"), aggregation.replace("/", "%2F"), metric))


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
