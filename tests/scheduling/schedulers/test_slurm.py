"""Slurm's programs are asked so that nobody's settings change the answer, and silence ends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Site
from harness.entry import run_job
from harness.errors import CommandError, SchedulerError, SubmissionError
from harness.plan.manifest import Manifest, add_submission, write_manifest
from harness.plan.plan import build_plan
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers import slurm
from harness.scheduling.schedulers.slurm import SlurmScheduler
from tests.plan.test_plan import make_spec
from tests.support import ROOT

CAPTURED = ROOT / "tests" / "captured" / "slurm"


def answers(monkeypatch: pytest.MonkeyPatch, **programs: str | CommandError) -> None:
    def fake_call(argv: tuple[str, ...], **_: object) -> str:
        answer = programs[argv[0]]
        if isinstance(answer, CommandError):
            raise answer
        return answer

    monkeypatch.setattr(slurm, "call", fake_call)


def failure(name: str) -> CommandError:
    return CommandError(["x"], 1, "", (CAPTURED / f"error-{name}.txt").read_text())


def test_without_accounting_squeue_alone_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, sacct=failure("sacct-accounting-off"), squeue="7|RUNNING|None")
    assert SlurmScheduler().states(["7"])["7"].phase == "running"


def test_a_job_that_left_the_queue_is_unknown_without_accounting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(
        monkeypatch, sacct=failure("sacct-accounting-off"), squeue=failure("squeue-unknown-job")
    )
    assert SlurmScheduler().states(["7"])["7"].phase == "unknown"


def test_the_queue_is_newer_than_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, sacct="7|NODE_FAIL|0:0", squeue="7|PENDING|BeginTime")
    assert SlurmScheduler().states(["7"])["7"].phase == "pending"


def test_a_controller_that_is_down_is_an_error_and_not_an_empty_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(
        monkeypatch,
        sacct=failure("sacct-slurmdbd-down"),
        squeue=failure("squeue-controller-down"),
    )
    with pytest.raises(SchedulerError, match="cannot be asked"):
        SlurmScheduler().states(["7"])


def test_of_a_failed_job_accounting_says_how_and_where_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(
        monkeypatch,
        sacct="7|FAILED|0:9|gpu2\n8|COMPLETED|0:0|gpu1\n9|FAILED|1:0|gpu1",
        squeue="7|FAILED|NonZeroExitCode\n8|COMPLETED|None\n9|PENDING|BeginTime\n10|FAILED|Prolog",
    )
    found = SlurmScheduler().states(["7", "8", "9", "10"])
    assert {job_id: str(state) for job_id, state in found.items()} == {
        "7": "FAILED (exit 0:9) on gpu2", "8": "COMPLETED", "9": "PENDING (BeginTime)",
        "10": "FAILED (Prolog)",
    }  # fmt: skip


def test_no_setting_of_the_shell_changes_what_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "SQUEUE_USERS": "nobody", "SQUEUE_STATES": "PD", "SACCT_FEDERATION": "1",
        "SLURM_EXIT_ERROR": "0", "SLURM_BITSTR_LEN": "9", "SCANCEL_INTERACTIVE": "1",
        "SCONTROL_ALL": "1", "SBATCH_CLUSTERS": "other", "SLURM_CONF": "/c",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    seen: list[dict[str, str]] = []

    def fake_call(argv: Any, env: dict[str, str]) -> str:
        own = ("SQUEUE_", "SACCT_", "SLURM_", "SCANCEL_", "SCONTROL_", "SBATCH_")
        seen.append({name: value for name, value in env.items() if name.startswith(own)})
        return ""

    monkeypatch.setattr(slurm, "call", fake_call)
    scheduler = SlurmScheduler()
    scheduler.states(["7"])
    scheduler.cancel(["7"])
    scheduler.release("7")
    scheduler.find(["x"])
    ours = {"SLURM_CONF": "/c", "SLURM_CLUSTERS": "other", "SLURM_BITSTR_LEN": "0"}
    assert seen == [ours] * 6


PLAN = build_plan(make_spec(benchmarks=["arithmetic"], checkpoints="last"), Site())


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "tiny" / "20260101-000000-aaaa")
    write_manifest(paths, Manifest(run_id=paths.run_id, created="", scheduler="slurm", plan=PLAN))
    paths.logs("train").mkdir(parents=True)
    return paths


def submit(run: RunPaths) -> str:
    return SlurmScheduler().submit(run, PLAN.job("train"), [], Site(), run_job)


def test_a_job_is_submitted_under_its_own_name_and_finds_its_call(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    monkeypatch.setenv("MY_SECRET", "x")
    commands: list[Any] = []

    def sbatch(argv: Any, env: dict[str, str], **_: Any) -> tuple[str, str]:
        commands.append(argv)
        assert not {"SBATCH_EXPORT", "SBATCH_ACCOUNT", "MY_SECRET"} & env.keys()
        assert env["PATH"]
        return "7;lab\n", ""

    monkeypatch.setattr(slurm, "run_program", sbatch)
    assert submit(run) == "7"
    assert commands == [
        ["sbatch", "--parsable", f"--job-name=tiny.{run.run_id}:train", "--export=ALL",
         "--account=lab", str(run.script("train"))]
    ]  # fmt: skip
    assert (run.logs("train") / "7_submitted.pkl").is_file()


@pytest.mark.parametrize(
    ("error", "taken", "said"),
    [
        ("invalid-account", "no", "sbatch refused train: Batch job submission failed: Invalid account"),
        ("too-much-memory", "no", "Memory specification can not be satisfied"),
        ("sbatch-controller-down", "no", "Unable to contact slurm controller"),
        ("unknown-option", "unlikely", "unrecognized option"),
        ("Batch job submission failed: Socket timed out on send/recv operation", "perhaps",
         "sbatch did not say whether it took train"),
        ("Batch job submission failed: Zero Bytes were transmitted or received", "perhaps", "Zero"),
        ("you have no project; see the wiki", "unlikely", "see the wiki"),
        (None, "perhaps", "timed out"),
        (-9, "perhaps", "exited -9"),
        (127, "no", "sbatch is not on this machine's PATH"),
    ],
)  # fmt: skip
def test_how_sure_it_is_that_a_job_was_not_taken(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, error: str | int | None, taken: str, said: str
) -> None:
    def sbatch(argv: Any, **_: Any) -> tuple[str, str]:
        if not isinstance(error, str):
            raise CommandError(argv, error, "", "")
        captured = CAPTURED / f"error-{error}.txt"
        text = captured.read_text() if captured.is_file() else f"sbatch: error: {error}\n"
        raise CommandError(argv, 1, "", text)

    monkeypatch.setattr(slurm, "run_program", sbatch)
    with pytest.raises(SubmissionError) as caught:
        submit(run)
    assert caught.value.taken == taken
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("queue", "job_id"),
    [("7|{name}\n9|{name}", "9"), ("7|{name}", None), ("", None)],
    ids=["there", "an-older-one", "nothing"],
)
def test_where_the_answer_names_no_job_it_is_found_by_its_name(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, queue: str, job_id: str | None
) -> None:
    add_submission(run, "train", "7")
    name = f"tiny.{run.run_id}:train"
    monkeypatch.setattr(slurm, "run_program", lambda *_, **__: ("job 1 of 10 taken", ""))
    answers(monkeypatch, squeue=queue.format(name=name), sacct="")
    if job_id:
        assert submit(run) == job_id
    else:
        with pytest.raises(SubmissionError, match=r"without a job id .*job 1 of 10") as caught:
            submit(run)
        assert caught.value.taken == "perhaps"
