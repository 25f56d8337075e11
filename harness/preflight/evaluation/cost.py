"""One array task for each benchmark, or one for all: what an earlier run says of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.benchmarks.registry import parse
from harness.config.base import minutes
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.errors import HarnessError
from harness.preflight.findings import Finding, note
from harness.runs.paths import find_runs
from harness.runs.reader import RunReader

PLACE = "evaluation.tasks"
PHASES = ("start", "generate", "grade", "idle")
WORTH_SAVING = 0.2
"""Share of the GPU seconds from which one task for all is recommended: it gives its numbers later."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one checkpoint both ways; times the GPUs of a task they are GPU seconds."""

    start: float
    """What each task costs before it asks its first question."""
    separate: float
    """All tasks together, one for each benchmark."""
    slowest: float
    """The longest of them: when the numbers are there."""
    together: float
    """One task for all."""

    @property
    def saved(self) -> float:
        """Share of the GPU seconds that one task for all saves."""
        return 1 - self.together / self.separate if self.separate else 0.0


def estimate(start: float, work: Sequence[float]) -> Estimate:
    """What a checkpoint costs, from a task's start and each benchmark's generating and grading.

    A task asks and grades one benchmark after the other, so that nothing overlaps.
    """
    return Estimate(start, start * len(work) + sum(work), start + max(work), start + sum(work))


def check_tasks(name: str, evaluation: EvaluationSpec, site: Site) -> list[Finding]:
    """A note on `evaluation.tasks` where it makes a difference."""
    names = [parse(word, "evaluation.benchmarks").name for word in evaluation.benchmarks]
    if len(names) == 1:
        return []
    found, origin = known_cost(name, evaluation, names, Path(site.runs_dir))
    if found is None:
        text = (
            f"per-benchmark starts a server {len(names)} times for each checkpoint, one starts it "
            f"once and has its numbers later; what that costs is unknown: no earlier run of {name} "
            "like this"
        )
        return [note(PLACE, text)]
    gpus = max(evaluation.server.gpu_count, 1)
    unit = "GPU" if evaluation.server.gpu_count else "task"
    text = (
        f"a checkpoint takes about {found.separate * gpus:,.0f} {unit} seconds and "
        f"{found.slowest:,.0f} s with one task for each benchmark, {found.together * gpus:,.0f} and "
        f"{found.together:,.0f} s with one for all (a start takes {found.start:,.0f} s; {origin}). "
    )
    limit = evaluation.time_limit or site.options("evaluate").time_limit
    assert limit  # has a default
    fits = found.together / 60 <= 0.9 * minutes(limit)
    best = "one" if found.saved >= WORTH_SAVING and fits else "per-benchmark"
    if best == "one":
        reason = f"it saves {found.saved:.0%}"
    elif fits:
        reason = f"one for all would save only {found.saved:.0%}, and give its numbers later"
    else:
        reason = f"one for all would not fit the time limit of {limit}"
    chosen = ", as set" if best == evaluation.tasks else f"; the spec says {evaluation.tasks}"
    return [note(PLACE, f"{text}Recommended: {best} ({reason}){chosen}")]


def known_cost(
    name: str, evaluation: EvaluationSpec, benchmarks: Sequence[str], runs_dir: Path
) -> tuple[Estimate | None, str]:
    """By the newest earlier run of this name that evaluated alike; None where there is none."""
    for run in reversed(find_runs(runs_dir)):
        if run.name != name:
            continue
        try:
            reader = RunReader(run)
            earlier = reader.evaluated.evaluation
            if earlier is None or not _alike(earlier, evaluation):
                continue
            tasks = 1 if earlier.tasks == "one" else len(benchmarks)
            checkpoints = sorted(path.name for path in run.eval.glob("*") if path.is_dir())
            seconds = [cells for c in checkpoints if (cells := _seconds(reader, c, benchmarks))]
        except HarnessError:
            continue  # written by another version
        if seconds:
            start = median(sum(c["start"] + c["idle"] for c in cells) for cells in seconds) / tasks
            work = [
                median(c["generate"] + c["grade"] for c in of_one)
                for of_one in zip(*seconds, strict=True)
            ]
            return estimate(start, work), f"run {run.run_id}"
    return None, ""


def _alike(earlier: EvaluationSpec, now: EvaluationSpec) -> bool:
    """Whether cells of both take as long."""
    fields = ("benchmarks", "server", "sampling", "max_items", "concurrency", "judge")
    return all(getattr(earlier, field) == getattr(now, field) for field in fields)


def _seconds(run: RunReader, checkpoint: str, benchmarks: Sequence[str]) -> list[dict[str, float]]:
    """Seconds by phase of a checkpoint's cells; empty unless all are ok and asked in one go."""
    found = []
    for benchmark in benchmarks:
        record = run.record(checkpoint, benchmark)
        seconds = record.facts.get("seconds") if record and record.state == "ok" else None
        if not isinstance(seconds, Mapping) or "idle" not in seconds:
            return []
        found.append({phase: float(seconds.get(phase, 0.0)) for phase in PHASES})
    return found
