"""A submission that does not reach its end leaves no job that nobody knows of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.config.site import Site
from harness.entry import run_job
from harness.errors import HarnessError, SchedulerError, SubmissionError, UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import (
    Manifest,
    add_submission,
    announce,
    read_manifest,
    write_manifest,
)
from harness.plan.plan import build_plan
from harness.runs.paths import RunPaths
from harness.scheduling import interrupted
from harness.scheduling.interrupted import take_up, undone
from harness.scheduling.schedulers.calls import write_calls
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.submit import Submittal, intents
from tests.plan.test_plan import make_spec

PLAN = build_plan(make_spec(benchmarks=["arithmetic", "gsm8k"], checkpoints="last"), Site())
ARRAY = "eval-checkpoint-10"


class Cluster:
    """Knows jobs by name, after some looks; may not be asked, or not cancel."""

    def __init__(
        self, looks: int = 0, mute: bool = False, stays: bool = False, **jobs: str
    ) -> None:
        self.looks, self.mute, self.stays = looks, mute, stays
        self.jobs = {name.replace("_", "-"): job_id for name, job_id in jobs.items()}
        self.cancelled: list[str] = []

    def find(self, names: Sequence[str]) -> dict[str, list[str]]:
        if self.mute:
            raise SchedulerError("squeue: controller down")
        self.looks -= 1
        if self.looks >= 0:
            return {}
        return {n: [i] for n in names if (i := self.jobs.get(n.partition(":")[2]))}

    def cancel(self, job_ids: Iterable[str]) -> None:
        if self.stays:
            raise SchedulerError("controller down")
        self.cancelled += job_ids


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run whose jobs are announced, and none has an id."""
    paths = RunPaths(tmp_path / "tiny" / "20260101-000000-aaaa")
    write_manifest(
        paths,
        Manifest(run_id=paths.run_id, created="", scheduler="slurm", plan=PLAN),
    )
    announce(paths, intents(paths, [Submittal(job) for job in PLAN.jobs]))
    monkeypatch.setattr(interrupted, "LOOK_S", 0.0)
    return paths


def fail(run: RunPaths, cluster: Any, error: BaseException, **taken: str) -> list[str]:
    """Submit what is `taken`, then fail; what `then` saw cancelled."""
    seen: list[str] = []
    with undone(run, cluster, lambda: seen.extend(["then", *cluster.cancelled])) as ids:
        for name, job_id in taken.items():
            ids[name] = job_id
            add_submission(run, name, job_id)
        raise error
    return seen


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("disk full"), UserError),
     (HarnessError("other"), HarnessError), (ZeroDivisionError(), ZeroDivisionError),
     (SubmissionError("refused", "no"), UserError)],
    ids=["ctrl-c", "disk", "another-error", "a-bug", "refused"],
)  # fmt: skip
def test_whatever_goes_wrong_is_undone_first(
    run: RunPaths, error: BaseException, raised: Any
) -> None:
    cluster, then = Cluster(), list[list[str]]()

    def go_wrong() -> None:
        ended: Any = cluster
        with undone(run, ended, lambda: then.append([*cluster.cancelled])) as ids:
            ids["train"] = "7"
            raise error

    with pytest.raises(raised):
        go_wrong()
    assert then == [["7"]], "what is called last is called once the jobs are gone"


def test_what_goes_right_is_not_undone_and_its_record_is_one_file(run: RunPaths) -> None:
    cluster = Cluster()
    with undone(run, cluster, lambda: pytest.fail("undone")) as ids:  # type: ignore[arg-type]
        for number, job in enumerate(PLAN.jobs):
            ids[job.name] = str(number)
            add_submission(run, job.name, str(number))
    assert cluster.cancelled == []
    assert not run.manifest.with_suffix(".jsonl").exists()
    assert len(read_manifest(run).submissions) == len(PLAN.jobs)


@pytest.mark.parametrize(
    "error",
    [SubmissionError("sbatch: Socket timed out", "perhaps"), KeyboardInterrupt(),
     SubmissionError("the wrapper failed", "unlikely")],
    ids=["no-answer", "ctrl-c", "wrapper"],
)  # fmt: skip
def test_a_job_whose_id_nobody_learned_is_cancelled_too(
    run: RunPaths, error: BaseException
) -> None:
    cluster = Cluster(**{ARRAY: "12"}, looks=0 if "wrapper" in str(error) else 2)
    with pytest.raises((UserError, KeyboardInterrupt)):
        fail(run, cluster, error, train="11")
    assert cluster.cancelled == ["11", "12"]


def test_where_a_job_may_come_later_nobody_says_that_nothing_is_left(run: RunPaths) -> None:
    cluster = Cluster()
    with pytest.raises(SchedulerError) as caught:
        fail(run, cluster, SubmissionError("sbatch: Socket timed out", "perhaps"), train="11")
    text = str(caught.value)
    assert "Nothing is left" not in text
    assert "A job may be left: the scheduler does not know it now" in text
    assert f"squeue --me --name=tiny.{run.run_id}:{ARRAY}" in text
    assert f"harness cancel {run.root}" in text
    assert cluster.cancelled == ["11"]
    assert read_manifest(run).intents[0].job == ARRAY, "so that `cancel` finds it"


@pytest.mark.parametrize(
    ("taken", "certain"), [("no", True), ("unlikely", False), ("perhaps", False)]
)
def test_a_scheduler_that_cannot_be_asked_leaves_a_doubt_unless_it_refused(
    run: RunPaths, taken: Any, certain: bool
) -> None:
    with pytest.raises(HarnessError) as caught:
        fail(run, Cluster(mute=True), SubmissionError("it failed", taken))
    assert ("Nothing is left submitted." in str(caught.value)) is certain
    assert ("may be left: whether it is there cannot be asked" in str(caught.value)) is not certain


def test_jobs_that_cannot_be_cancelled_are_all_named(run: RunPaths) -> None:
    cluster = Cluster(**{ARRAY: "12"}, stays=True)
    with pytest.raises(SchedulerError, match=r"could not be cancelled again: 11, 12 \(contr"):
        fail(run, cluster, SubmissionError("it failed", "unlikely"), train="11")


def states(run: RunPaths, cluster: Any) -> dict[str, JobState]:
    return take_up(RunFacts(run), cluster)[1]


def test_after_a_kill_the_job_in_flight_is_found_and_the_others_were_never_submitted(
    run: RunPaths,
) -> None:
    add_submission(run, "train", "11")
    run.logs(ARRAY).mkdir(parents=True)
    write_calls(run, PLAN.job(ARRAY), run_job)
    found = states(run, Cluster(**{ARRAY: "12"}))
    assert set(found) == {"close", "collect"}
    assert all(state.ended and "never submitted" in state.detail for state in found.values())
    assert {s.job: s.id for s in read_manifest(run).submissions} == {"train": "11", ARRAY: "12"}
    for task in (0, 1):  # so that the job can do its work
        assert (run.logs(ARRAY) / f"12_{task}_submitted.pkl").is_file()


def test_a_job_that_the_record_knows_is_not_the_lost_one(run: RunPaths) -> None:
    add_submission(run, "train", "11")
    announce(run, intents(run, [Submittal(PLAN.job("collect"))]))
    assert set(states(run, Cluster(train="11", collect="11"))) == {ARRAY, "close", "collect"}
    assert [s.id for s in read_manifest(run).submissions] == ["11"]


def test_while_it_goes_on_a_submission_is_not_called_interrupted(run: RunPaths) -> None:
    with FileLock(run.root / ".submit.lock"):
        found = states(run, Cluster(train="11"))
    assert set(map(str, found.values())) == {"pending: being submitted"}
    assert read_manifest(run).submissions == ()


def test_where_nobody_can_be_asked_nothing_is_concluded(run: RunPaths) -> None:
    with pytest.raises(SchedulerError):
        states(run, Cluster(mute=True))
    assert len(read_manifest(run).intents) == len(PLAN.jobs)


def test_a_whole_record_asks_nobody(run: RunPaths) -> None:
    for number, job in enumerate(PLAN.jobs):
        add_submission(run, job.name, str(number))
    assert states(run, Cluster(mute=True)) == {}
