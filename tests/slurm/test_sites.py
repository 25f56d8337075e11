"""Sites that wrap sbatch, set variables for every user, and activate environments in their own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from .cluster import PrivateSlurm
from .submitting import JOBS, SPEC, Submitter

BANNER = 'echo "Welcome; this is your job 1 of 10 today."'


@pytest.fixture
def user(tmp_path: Path, slurm: PrivateSlurm) -> Submitter:
    return Submitter(tmp_path, slurm)


WRAPPERS = {
    "the-id-alone": 'out=$($REAL "$@") || exit $?\necho "${out##* }"',
    "the-cluster-too": 'echo "$($REAL "$@");lab"',
    "a-banner-before": f'{BANNER}\n$REAL "$@"',
    "a-banner-after": f'$REAL "$@" && {BANNER}',
    "slurms-sentence": f'{BANNER}\necho "Submitted batch job $($REAL "$@") on cluster lab"',
    "the-sentence-on-stderr": 'echo "Submitted batch job $($REAL "$@")" >&2',
    "another-number": 'echo 10\n$REAL "$@"',
    "no-id": '$REAL "$@" >/dev/null && echo "Your job has been taken."',
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_whatever_a_sites_sbatch_says_the_right_ids_are_known(
    user: Submitter, wrapper: str
) -> None:
    user.program("sbatch", WRAPPERS[wrapper])
    done = user.submit()
    assert done.returncode == 0, done.stderr
    assert user.ids() == user.queue()
    assert set(user.ids()) == set(JOBS)
    train = user.ids()["train"]
    assert (
        user.slurm.job(user.ids()["eval-checkpoint-1"])["Dependency"]
        == f"afterok:{train}(unfulfilled)"
    )
    assert user.slurm.job(train)["JobName"] == f"tiny.{user.run().name}:train"


LATE = '[[ "$*" == *:close* ]] || exec $REAL "$@"\n'
FAILURES = {
    "refused": (LATE + 'echo "sbatch: error: Batch job submission failed: no" >&2; exit 1', True),
    "taken-and-failed": (LATE + '$REAL "$@" >/dev/null; echo "quota database is down"; exit 3', True),
    "taken-and-timed-out": (
        LATE + '$REAL "$@" >/dev/null\n'
        'echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1', True),
    "timed-out": (
        LATE + 'echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1',
        False),
    "named-otherwise": (
        LATE + '$REAL "${@/#--job-name=*/--job-name=x}" >/dev/null; echo taken', False),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_is_left_pending_where_the_message_says_so(user: Submitter, failure: str) -> None:
    script, certain = FAILURES[failure]
    user.program("sbatch", script)
    done = user.submit()
    assert done.returncode == (2 if certain else 1), done.stderr
    assert "Traceback" not in done.stderr
    assert user.queue() == {}, "what has the run's name is gone"
    assert ("Nothing is left submitted." in done.stderr) is certain
    if not certain:
        assert "A job may be left" in done.stderr
        assert f"squeue --me --name=tiny.{user.run().name}:close" in done.stderr
        cancelled = user.harness("cancel")
        assert cancelled.returncode == 0, cancelled.stderr


VARIABLES = {
    "SBATCH_EXPORT": "NONE", "SBATCH_ARRAY_INX": "0-7", "SBATCH_WAIT": "1", "SBATCH_GRES": "gpu:1",
    "SBATCH_OUTPUT": "/no/such/folder/x", "SBATCH_ERROR": "/no/such/folder/x", "SBATCH_DEBUG": "1",
    "SBATCH_JOB_NAME": "mine", "SBATCH_TIMELIMIT": "1", "SBATCH_NO_REQUEUE": "1",
    "SBATCH_MEM_PER_NODE": "1", "SBATCH_SIGNAL": "TERM@60", "SBATCH_OPEN_MODE": "truncate",
    "SBATCH_QOS": "normal", "SBATCH_ACCOUNT": "research", "SBATCH_PARTITION": "scavenge",
    "SRUN_EXPORT_ENV": "NONE", "SLURM_EXPORT_ENV": "NONE", "SRUN_OUTPUT": "/no/such/folder/x",
    "SQUEUE_USERS": "nobody", "SQUEUE_STATES": "R", "SCANCEL_INTERACTIVE": "1",
    "SCANCEL_STATE": "R", "SLURM_EXIT_ERROR": "0", "SLURM_OPEN_MODE": "truncate",
}  # fmt: skip


def test_variables_that_a_site_sets_for_every_user_change_nothing_but_account_and_place(
    user: Submitter, slurm: PrivateSlurm
) -> None:
    site = {"jobs": {"control": {"partition": "gpu"}}}
    user.site(slurm={"extra": {"hold": True}, "cpus_per_gpu": 1, "time_limit": "2:00:00"}, **site)
    done = user.submit(**VARIABLES)
    assert done.returncode == 0, done.stderr
    assert user.ids() == user.queue()
    train = slurm.job(user.ids()["train"])
    assert (train["Partition"], train["TimeLimit"], train["Requeue"]) == (
        "scavenge",
        "02:00:00",
        "1",
    )
    assert slurm.job(user.ids()["close"])["Partition"] == "gpu", "the site's own word holds"
    assert train["StdOut"].startswith(str(user.run() / "logs" / "train"))
    assert "gres/gpu=8" in slurm.tres(user.ids()["train"])
    tasks = slurm.job_states(user.ids()["eval-checkpoint-1"])
    assert len(tasks) == 2
    shown = user.harness("status", **VARIABLES)
    assert shown.returncode == 0, shown.stderr
    assert "PENDING (JobHeldUser)" in shown.stdout
    cancelled = user.harness("cancel", **VARIABLES)
    assert cancelled.returncode == 0, cancelled.stderr
    assert user.queue() == {}


def steps_of(job: str) -> Iterator[dict[str, str]]:
    """The environment of each task that srun started for a job."""
    for process in psutil.process_iter():
        try:
            env, argv = process.environ(), process.cmdline()
        except psutil.Error:
            continue
        if env.get("SLURM_JOB_ID") == job and "SLURM_PROCID" in env and "-m" in argv:
            yield env


@pytest.mark.timeout(300)
def test_a_scripts_own_variables_reach_its_tasks_where_the_site_exports_none(
    user: Submitter, slurm: PrivateSlurm
) -> None:
    user.site(environments={"train": {"variables": {"MY_NOTE": "it's here"}}},
              slurm={"cpus_per_gpu": 1})  # fmt: skip
    (user.folder / "tiny.yaml").write_text(yaml.safe_dump({"train": SPEC["train"]}))
    done = user.submit(SBATCH_EXPORT="NONE", SRUN_EXPORT_ENV="NONE", MY_OWN="mine")
    assert done.returncode == 0, done.stderr
    train = user.ids()["train"]
    found: list[dict[str, str]] = []

    def seen() -> bool:
        found.extend(steps_of(train))
        return bool(found)

    slurm.wait_until(seen, 120, "the job's step")
    assert (found[0]["MY_NOTE"], found[0]["MY_OWN"]) == ("it's here", "mine")
    assert found[0]["SUBMITIT_EXECUTOR"] == "slurm"
    assert not [name for name in found[0] if name.startswith(("SBATCH_", "SRUN_EXPORT"))]


ACTIVATE = 'export MY_TOOLS=/opt/tools\n[ -n "$NO_SUCH" ] && PS1="(env) $PS1"\n'


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", [False, True], ids=["a-false-test", "a-missing-file"])
def test_an_activation_that_is_false_goes_on_and_one_that_fails_is_named_in_the_log(
    user: Submitter, slurm: PrivateSlurm, broken: bool
) -> None:
    script = user.folder / "it's activate.sh"
    if not broken:
        script.write_text(ACTIVATE)
    lines = [f'source "{script}"']
    user.site(environments={"train": {"activate": lines}}, slurm={"cpus_per_gpu": 1})
    (user.folder / "tiny.yaml").write_text(yaml.safe_dump({"train": SPEC["train"]}))
    done = user.submit()
    assert done.returncode == 0, done.stderr
    train = user.ids()["train"]
    log = user.run() / "logs" / "train" / f"{train}_0_log.err"
    if broken:
        slurm.wait_for(train, "FAILED", timeout=60)
        assert f"{script}: No such file or directory" in log.read_text()
        assert "which ends the job" in log.read_text()
        return
    slurm.wait_until(lambda: any(True for _ in steps_of(train)), 120, "the job's step")
    assert next(steps_of(train))["MY_TOOLS"] == "/opt/tools"
    assert "is false and said nothing; going on" in log.read_text()


def test_a_list_of_tasks_that_accounting_cut_does_not_stop_status_or_collect(
    user: Submitter,
) -> None:
    done = user.submit()
    assert done.returncode == 0, done.stderr
    array = user.ids()["eval-checkpoint-1"]
    cut = f"{array}_[0-3,5-8,10-13,15-18,20-23,25-28,30-33,35-38,40-43,45-48,50-5...]"
    user.program("sacct", f"echo '{cut}|CANCELLED by 0|0:0|None assigned'")
    user.program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    state = user.status()
    assert [task["phase"] for task in state["jobs"]["eval-checkpoint-1"]] == ["cancelled"] * 2
    collected = user.harness("collect")
    assert "Traceback" not in collected.stderr
    assert "2 cells" in collected.stdout
