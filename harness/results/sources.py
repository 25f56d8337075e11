"""What the files of one folder say, and of which checkpoint: our cells, `ns`, lm-eval, lighteval."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.benchmarks.other_tools import LM_EVAL, read_tool_results
from harness.benchmarks.registry import BENCHMARKS
from harness.errors import ResultError
from harness.results.names import CONTAINERS, Parts, is_checkpoint_name, step_of
from harness.results.walk import METRICS, TASK, Folder
from harness.runs.files import read_json
from harness.runs.metrics import Metrics, read_task, read_values
from harness.runs.paths import CellPaths

ALL = "(all)"
"""Stands for the benchmark where a file is of several."""
OWN, TOOL, COMBINED = 0, 1, 2
"""Who is believed first where two files have numbers of a benchmark."""
NS_FOLDERS = ("eval-results", "tmp-eval-results")
"""NeMo-Skills' own; in the second lie answers that a judge has not seen."""
_TELL_NOTHING = CONTAINERS | {"lm-eval", "lm_eval", "lmeval", "lighteval", "nemo-skills"}
_NS_OUTPUT = re.compile(r"output(?:-rs\d+)?(?:_chunk_\d+)?\.jsonl")
_UNSAFE = re.compile(r"[\"<>:/|\\?*\[\]]+")
"""Of a model's name; lm-eval (utils.sanitize_model_name) makes `__` of it."""
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?")


@dataclass(frozen=True)
class Place:
    """Whose numbers these are."""

    checkpoint: Parts
    """Its folder."""
    inner: Parts = ()
    """What lies between it and the file and may tell one evaluation of it from another."""
    tool: str = ""
    model: Parts = ()
    """Folders that this program named after the model; they tell models apart."""


@dataclass(frozen=True)
class Found:
    """What one file says of one checkpoint."""

    place: Place
    benchmark: str
    source: str
    """The file."""
    rank: int = OWN
    metrics: Metrics = field(default_factory=dict)
    state: str = "ok"
    """Any other says that these numbers do not count."""
    reason: str = ""
    log: str = ""
    odd: list[str] = field(default_factory=list)
    """Values that are none."""
    notes: list[str] = field(default_factory=list)
    date: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_folder(folder: Folder, root: int) -> Iterator[Found]:
    """What there is of results in a folder. `root`: how many parts the tree's own path has."""
    if TASK in folder.files and (found := _own_cell(folder, root)):
        yield found
    elif METRICS in folder.files:
        yield from _metrics_file(folder, root)
    elif folder.outputs and not folder.tool_files:
        home, benchmark = _home(folder, (folder.name,), root)
        shown = ", ".join(folder.outputs[:3]) + (", …" if len(folder.outputs) > 3 else "")
        reason = f"{folder.path}: {shown} and no {METRICS}"
        yield Found(place_of(home, root), benchmark, "", state="missing", reason=reason)
    for name in folder.tool_files:
        yield _tool_file(folder, name, root)
    if folder.graded:
        yield _graded(folder, root)


def _own_cell(folder: Folder, root: int) -> Found | None:
    """A cell of ours, as its record says; None where the record is somebody else's."""
    place, paths = place_of(folder.parts[:-1], root), CellPaths(Path(folder.path))
    source, bad = f"{folder.path}/{METRICS}", ""
    try:
        record = read_task(paths)
    except ResultError as error:
        if not _may_be_ours(paths.task):
            return None
        record, bad = None, str(error)
    metrics: Metrics = {}
    odd: list[str] = []
    try:
        metrics, odd = read_values(source)
    except ResultError as error:
        bad = bad or (str(error) if record is None or record.state == "ok" else "")
    if not bad and record and record.state == "ok" and folder.name not in metrics:
        bad = f"{source}: no {folder.name} in it"
    if bad or record is None:
        return Found(place, folder.name, source, OWN, metrics, "invalid", bad)
    return Found(
        place, folder.name, source, OWN, metrics, record.state, record.reason, record.log, odd,
        facts=record.facts,
    )  # fmt: skip


def _may_be_ours(task: Path) -> bool:
    try:
        data = read_json(task)
    except ResultError:
        return True
    return isinstance(data, dict) and "state" in data


def _metrics_file(folder: Folder, root: int) -> Iterator[Found]:
    source, bad = f"{folder.path}/{METRICS}", ""
    metrics: Metrics | None = None
    odd: list[str] = []
    try:
        metrics, odd = read_values(source)
    except ResultError as error:
        bad = str(error)
    home, benchmark = _home(folder, metrics, root)
    place = place_of(home, root)
    rank = COMBINED if benchmark == ALL else OWN
    if bad or metrics is None:
        yield Found(place, benchmark, source, rank, {}, "invalid", bad, source)
        return
    outputs = [name for name in folder.outputs if _NS_OUTPUT.fullmatch(name)]
    for name in outputs:
        if f"{name}.done" not in folder.files and benchmark != ALL:
            # Only ns marks outputs; our own cells have a task.json instead.
            bad = f"{name} has no .done mark: it was not finished"
            yield Found(place, benchmark, source, rank, metrics, "invalid", bad)
    if not bad:
        yield Found(place, benchmark, source, rank, metrics, odd=odd)


def _graded(folder: Folder, root: int) -> Found:
    """Metrics of answers graded again: of no row, for they are of a benchmark that may have its own."""
    source = f"{folder.path}/{folder.graded[0]}"
    home, benchmark = _home(folder, (folder.name,), root)
    place = place_of(home, root)
    if METRICS in folder.files:
        note = f"{benchmark}: {', '.join(folder.graded)} of `grade` is not in the table"
        return Found(place, benchmark, source, COMBINED, notes=[note])
    reason = f"{source} is of `grade`: python -m harness collect FILE reads it"
    return Found(place, benchmark, source, TOOL, {}, "not read", reason)


def _tool_file(folder: Folder, name: str, root: int) -> Found:
    source = f"{folder.path}/{name}"
    try:
        found = read_tool_results(source)
    except ResultError as error:
        place = place_of(folder.parts, root)
        return Found(place, ALL, source, TOOL, {}, "not read", str(error), source)
    home: Parts = folder.parts
    model: Parts = ()
    if found.tool == LM_EVAL:
        if folder.name == _UNSAFE.sub("__", found.model):
            home, model = folder.parts[:-1], folder.parts[-1:]
    else:
        own = tuple(part for part in found.model.split("/") if part)
        if own and folder.parts[-len(own) :] == own:
            home, model = folder.parts[: -len(own)], own
            home = home[:-1] if home[-1:] == ("results",) else home
    place = place_of(home, root, found.tool, model, folder.parts)
    notes = [f"{found.tool}.{text}" for text in found.cut]
    return Found(
        place, ALL, source, TOOL, found.metrics, odd=found.odd, notes=notes, date=_date(source)
    )  # fmt: skip


def _date(path: str) -> str:
    """When a results file was written: as its name says, else as its folder does."""
    named = _DATE.search(os.path.basename(path))
    if named:
        return named[0]
    changed = datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc)
    return changed.strftime("%Y-%m-%dT%H-%M-%S")


def _home(folder: Folder, names: Collection[str] | None, root: int) -> tuple[Parts, str]:
    """The folder whose benchmarks these are, and which of them; `names`: those in the file.

    `<home>/eval-results/<benchmark>/`, `<home>/eval-results/`, `<home>/<benchmark>/` or `<home>/`.
    None: the file cannot be read.
    """
    parts, name = folder.parts, folder.name
    # Above the tree a folder of that name counts only for the tree's own.
    for at in range(len(parts) - 1, max(root - (2 if len(parts) == root else 1), 1) - 1, -1):
        if parts[at] in NS_FOLDERS:
            return parts[:at], "/".join(parts[at + 1 :]) or ALL
    if step_of(name) is not None or len(parts) == 1:
        return parts, ALL
    if names is None:
        known = is_checkpoint_name(parts[-2]) or name in BENCHMARKS
        return (parts[:-1], name) if known else (parts, ALL)
    of_one = name in names or all(each.startswith(f"{name}-") for each in names)
    return (parts[:-1], name) if of_one else (parts, ALL)


def place_of(
    home: Parts, root: int, tool: str = "", model: Parts = (), otherwise: Parts = ()
) -> Place:
    """The nearest folder above, or `home` itself, that is called like a checkpoint; else `home`.

    `otherwise` is taken instead of `home` where one is given.
    """
    for at in range(len(home), root - 1, -1):
        if is_checkpoint_name(home[at - 1]):
            inner = tuple(part for part in home[at:] if part not in _TELL_NOTHING)
            return Place(home[:at], inner, tool, model)
    parts = otherwise or home
    while len(parts) > 1 and parts[-1] in CONTAINERS:
        parts = parts[:-1]
    return Place(parts)
