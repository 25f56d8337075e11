"""Following a run: a line for each change and no other, and no waiting for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.evaluate import EvalSpec
from harness.errors import SchedulerError
from harness.plan.facts import RunFacts
from harness.runs.files import write_text
from harness.runs.metrics import TaskRecord
from harness.runs.paths import RunPaths
from harness.scheduling import follow as module
from harness.scheduling.cells import CellStatus
from harness.scheduling.follow import follow
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.status import RunStatus
from tests.plan.test_plan import make_spec
from tests.scheduling.test_cells import planned

DONE, RUNS, WAITS = JobState("completed"), JobState("running"), JobState("pending", "PENDING")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """One checkpoint on gsm8k and, with four answers for each item, ifeval."""
    return planned(tmp_path, make_spec(checkpoints="last"), {"train": "1"}, "local")


class Looks:
    """What is seen at each look, ten seconds apart by a clock of its own."""

    def __init__(self, run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.facts = run, RunFacts(run)
        self.looks: Iterator[RunStatus] = iter(())
        self.count, self.waited = 0, list[float]()
        clock = SimpleNamespace(monotonic=lambda: 10.0 * self.count, sleep=self.waited.append)
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "run_status", self._look)

    def _look(self, run: RunPaths) -> RunStatus:
        self.count += 1
        return next(self.looks)

    def see(self, *looks: dict[str, Any], **how: Any) -> list[str]:
        """The lines that following these looks reports."""
        self.looks = iter([self._status(**look) for look in looks])
        lines: list[str] = []
        follow(self.run, lines.append, **how)
        return lines

    def _status(self, problem: str = "", given: Any = None, **told: Any) -> RunStatus:
        """Jobs (by their work) and cells (by benchmark) that are not told are done and ok."""
        plan = self.facts.plan
        states = {j.name: [told.get(j.work, DONE)] * max(len(j.tasks), 1) for j in plan.jobs}
        cells = [told.get(cell.benchmark, CellStatus(cell, "ok")) for cell in plan.cells]
        return RunStatus(self.facts, states, cells, given or {}, {}, problem)

    def cell(
        self, benchmark: str, state: Any, reason: str = "", record: TaskRecord | None = None
    ) -> CellStatus:
        cell = next(c for c in self.facts.plan.cells if c.benchmark == benchmark)
        return CellStatus(cell, state, reason, record=record)


@pytest.fixture
def looks(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(run, monkeypatch)


def test_each_change_is_told_once_and_it_returns_at_the_end(looks: Looks) -> None:
    running = {"train": RUNS, "given": {"step": 4}}
    waits = {"gsm8k": looks.cell("gsm8k", "waiting", "PENDING (Dependency)")}
    lines = looks.see(
        {"train": WAITS, **waits}, running | waits, running | waits,
        {"train": RUNS, "given": {"step": 8}, **waits}, {},
    )  # fmt: skip
    told = [line for line in lines if "ifeval" not in line]
    assert told == [
        "train: pending", "train: running, step 4 of 10", "train: running, step 8 of 10",
        "train: completed", "checkpoint-10 x gsm8k: ok",
    ]  # fmt: skip
    assert lines.count("checkpoint-10 x ifeval: ok") == 1
    assert looks.count == 5


def test_a_cell_that_is_not_ok_is_told_with_its_reason(looks: Looks) -> None:
    lines = looks.see({"gsm8k": looks.cell("gsm8k", "invalid", "8 of 10 answers are cut")})
    assert "checkpoint-10 x gsm8k: invalid (8 of 10 answers are cut)" in lines


def test_a_control_job_is_told_only_when_it_runs_or_goes_wrong(looks: Looks) -> None:
    failed = JobState("failed", "exit 1")
    lines = looks.see({"close": WAITS}, {"close": RUNS}, {"close": failed})
    assert [line for line in lines if line.startswith(("close", "collect"))] == [
        "close: running", "close: failed: exit 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "lines_there", "expected"),
    [
        (None, 0, "running, starting the server"),
        ({"state": "running"}, 0, "running, starting the server"),
        ({"state": "running", "facts": {"items": 2}}, 0, "running, 0 of 8 answers"),
        ({"state": "running", "facts": {"items": 2}}, 3, "running, 2 of 8 answers"),
        ({"state": "running", "facts": {"items": 2}}, 8, "running, 8 of 8 answers"),
        ({"state": "answered", "facts": {"items": 2}}, 8, "running, being judged"),
        ({"state": "running", "facts": {"items": 0}}, 0, "running, 0 of 0 answers"),
        ({"state": "running", "facts": {"backend": "lm-eval"}}, 0, "running, lm-eval is at work"),
        ({"state": "running", "facts": {"backend": "builtin"}}, 0, "running, starting the server"),
    ],
)
def test_how_far_a_running_cell_is_goes_by_quarters(
    looks: Looks, run: RunPaths, record: dict[str, Any] | None, lines_there: int, expected: str
) -> None:
    paths = run.cell("checkpoint-10", "ifeval")
    for repeat in range(4):
        there = max(min(lines_there - 2 * repeat, 2), 0)
        if there:
            write_text(paths.partial(repeat), "{}\n" * there)
    known = TaskRecord(**record) if record else None
    lines = looks.see(
        {"collect": RUNS, "ifeval": looks.cell("ifeval", "running", record=known)}, {}
    )
    assert f"checkpoint-10 x ifeval: {expected}" in lines


def test_it_does_not_end_while_the_scheduler_cannot_be_asked(looks: Looks) -> None:
    lines = looks.see({"problem": "controller down"}, {"problem": "controller down"}, {})
    assert lines[0] == "scheduler: controller down"
    assert looks.count == 3
    assert lines.count("scheduler: controller down") == 1


@pytest.mark.parametrize(
    ("look", "words"),
    [
        ({"problem": "controller down"}, "controller down"),
        ({"close": JobState("unknown")}, "the scheduler knows nothing of close"),
    ],
)
def test_it_gives_up_when_nothing_is_known_for_long(
    looks: Looks, look: dict[str, Any], words: str
) -> None:
    with pytest.raises(SchedulerError, match=f"given up after 60 minutes: {words}"):
        looks.see(*[look] * 400)
    assert looks.count == 361  # an hour and ten seconds


def test_doubt_that_passes_is_forgotten(looks: Looks) -> None:
    doubt: dict[str, Any] = {"problem": "down"}
    known: dict[str, Any] = {"train": RUNS}
    looks.see(*[doubt, known] * 5, {}, give_up_s=15)
    assert looks.count == 11
    with pytest.raises(SchedulerError):
        looks.see(known, doubt, doubt, give_up_s=15)


def test_a_long_silence_is_broken_by_what_still_runs(looks: Looks) -> None:
    running = {"train": RUNS, "given": {"step": 4}}
    lines = looks.see(*[running] * 16, {})
    assert lines.count("still train: running, step 4 of 10") == 2


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ({"train": WAITS}, "still train: pending"),
        ({"collect": WAITS}, "still waiting for the scheduler"),
    ],
    ids=["pending", "nothing-to-tell"],
)
def test_a_long_silence_in_which_nothing_runs_says_what_is_waited_for(
    looks: Looks, look: dict[str, Any], said: str
) -> None:
    every = {"gsm8k": looks.cell("gsm8k", "waiting"), "ifeval": looks.cell("ifeval", "waiting")}
    hidden = {"train": DONE} if "collect" in look else {}
    lines = looks.see(*[{**every, **hidden, **look}] * 16, {})
    told = [line for line in lines if line.startswith("still")]
    assert told == (["still waiting for the scheduler"] * 2 if hidden else [said] * 2)


def test_what_is_asked_often_here_is_asked_seldom_on_slurm(looks: Looks) -> None:
    look = {"train": RUNS}
    looks.see(look, {})
    looks.see(look, {}, poll_s=7.0)
    slurm = looks.facts.manifest.model_copy(update={"scheduler": "slurm"})
    looks.facts.__dict__["manifest"] = slurm
    looks.see(look, {})
    assert looks.waited == [module.LOCAL_POLL_S, 7.0, module.SLURM_POLL_S]


def test_of_a_server_that_runs_already_no_start_is_told(looks: Looks) -> None:
    looks.facts.__dict__["spec"] = EvalSpec.model_validate(
        {"name": "theirs", "model": "m", "evaluation": {"benchmarks": ["ifeval"]},
         "external": {"address": "http://127.0.0.1:1/v1", "model": "m"}}
    )  # fmt: skip
    lines = looks.see({"collect": RUNS, "ifeval": looks.cell("ifeval", "running")}, {})
    assert "checkpoint-10 x ifeval: running, asking the server" in lines
