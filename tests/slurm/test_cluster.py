"""The private Slurm behaves as a site's would, and never leaves a process behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from . import cluster, configuration
from .cluster import PrivateSlurm
from .machine import SlurmStartError, processes_of

ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "PREEMPTED")


def accounted(slurm: PrivateSlurm, job: str, *options: str) -> list[str]:
    """The states sacct has for a job's tasks or, with -D, for each of its runs."""
    text = slurm.run("sacct", "-X", "-n", "-P", "-j", job, "--format=State", *options)
    return text.split("\n")[:-1]


def test_a_job_gets_the_eight_gpus_it_asks_for(slurm: PrivateSlurm) -> None:
    job = slurm.submit("--gres=gpu:8", "--wrap=sleep 60")
    slurm.wait_for(job, "RUNNING")
    shown = slurm.job(job)
    assert shown["GRES"] == "gpu:8(IDX:0-7)"
    assert "gres/gpu=8" in slurm.tres(job)
    tres = ["sacct", "-X", "-n", "-P", "-j", job, "--format=AllocTRES"]
    # Accounting is told a moment later.
    slurm.wait_until(lambda: "gres/gpu=8" in slurm.run(*tres).strip().split(","), what=str(tres))


def test_a_fourth_whole_node_waits_for_one_of_the_three(slurm: PrivateSlurm) -> None:
    jobs = [slurm.submit("--gres=gpu:8", "--wrap=sleep 60") for _ in range(4)]
    for job in jobs[:3]:
        slurm.wait_for(job, "RUNNING")
    assert {slurm.job(job)["BatchHost"] for job in jobs[:3]} == {"gpu1", "gpu2", "gpu3"}
    slurm.wait_until(lambda: slurm.job(jobs[3])["Reason"] == "Resources")
    slurm.run("scancel", jobs[0])
    slurm.wait_for(jobs[3], "RUNNING")


def test_a_script_sees_its_gpus_and_its_output_is_where_it_was_asked_for(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    line = 'echo "$SLURM_JOB_ID $SLURM_GPUS_ON_NODE $SLURM_JOB_ACCOUNT"'
    script = f"#!/bin/bash\nsrun bash -c '{line}'\n"
    job = slurm.submit("--gres=gpu:4", f"--output={tmp_path}/%j.out", script=script)
    slurm.wait_for(job, *ENDED)
    assert (tmp_path / f"{job}.out").read_text() == f"{job} 4 research\n"


def test_an_array_waits_for_its_dependency_and_starts_at_once_when_that_is_cleared(
    slurm: PrivateSlurm,
) -> None:
    train = slurm.submit("--gres=gpu:8", "--wrap=sleep 60")
    array = slurm.submit("--array=0-2", f"--dependency=afterok:{train}", "--wrap=sleep 60")
    slurm.wait_for(train, "RUNNING")
    slurm.wait_until(lambda: slurm.job(array)["Reason"] == "Dependency")
    assert slurm.job_states(array) == {f"{array}_{task}": "PENDING" for task in range(3)}
    slurm.run("scontrol", "update", f"jobid={array}", "dependency=")
    slurm.wait_for(array, "RUNNING", timeout=10)
    assert slurm.job_states(train) == {train: "RUNNING"}


def test_accounting_knows_how_jobs_and_array_tasks_ended(slurm: PrivateSlurm) -> None:
    good = slurm.submit("--wrap=exit 0")
    bad = slurm.submit("--wrap=exit 3")
    array = slurm.submit("--array=0-1", "--wrap=exit $SLURM_ARRAY_TASK_ID")
    for job in (good, bad, array):
        slurm.wait_for(job, *ENDED)
    rows = [
        "sacct",
        "-X",
        "-n",
        "-P",
        "-j",
        f"{good},{bad},{array}",
        "--format=JobID,State,ExitCode",
    ]
    expected = {
        f"{good}|COMPLETED|0:0",
        f"{bad}|FAILED|3:0",
        f"{array}_0|COMPLETED|0:0",
        f"{array}_1|FAILED|1:0",
    }
    slurm.wait_until(lambda: set(slurm.run(*rows).splitlines()) == expected, what=str(rows))


def test_a_requeued_job_runs_again_within_seconds_and_knows_it(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wrap = "--wrap=echo restarts=${SLURM_RESTART_COUNT-none}; sleep 60"
    job = slurm.submit("--open-mode=append", f"--output={out}", wrap)
    slurm.wait_until(lambda: out.exists() and out.read_text() == "restarts=none\n")
    began = time.monotonic()
    slurm.run("scontrol", "requeue", job)
    slurm.wait_until(lambda: "restarts=1\n" in out.read_text(), timeout=20)
    assert time.monotonic() - began > 4  # held back by cred_expire (5 s), not by 120 s
    assert "DUE TO JOB REQUEUE" in out.read_text()
    assert slurm.job(job)["Restarts"] == "1"
    assert accounted(slurm, job, "-D")[0] == "REQUEUED"


def test_losing_a_node_requeues_its_job_on_another(slurm: PrivateSlurm, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = slurm.submit("--gres=gpu:8", f"--output={out}", "--wrap=echo begun; sleep 60")
    slurm.wait_until(lambda: out.exists() and out.read_text() == "begun\n")
    node = slurm.job(job)["BatchHost"]
    try:
        slurm.kill_slurmd(node)
        slurm.wait_until(lambda: slurm.job(job)["Restarts"] == "1")
        # 24.11 shows the old host for a moment.
        slurm.wait_until(lambda: slurm.job(job).get("BatchHost", node) != node, timeout=120)
        slurm.wait_for(job, "RUNNING")
        assert accounted(slurm, job, "-D")[0] == "NODE_FAIL"
        assert slurm.node_states()[node].startswith("down")
    finally:
        slurm.start_slurmd(node)
    slurm.wait_until(lambda: slurm.node_states()[node] == "idle")


def test_the_signal_before_the_time_limit_arrives_and_an_expired_job_ends_as_timeout(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    script = "#!/bin/bash\ntrap 'echo warned' USR2\nwhile :; do sleep 0.2; done\n"
    out = tmp_path / "out"
    # slurmctld looks at time limits every 30 s, and sends the signal at the last look before it is
    # due: here at once, the limit being a minute.
    warned = slurm.submit("--time=1", "--signal=B:USR2@50", f"--output={out}", script=script)
    over = slurm.submit("--wrap=sleep 300")
    slurm.wait_for(over, "RUNNING")
    slurm.expire(over)
    slurm.wait_until(lambda: out.exists() and out.read_text() == "warned\n", timeout=60)
    assert slurm.job_states(warned) == {warned: "RUNNING"}
    slurm.wait_for(over, "TIMEOUT", timeout=60)


def test_the_default_partition_preempts_scavenge(slurm: PrivateSlurm) -> None:
    low = slurm.submit("-p", "scavenge", "-w", "gpu1", "--gres=gpu:8", "--wrap=sleep 60")
    slurm.wait_for(low, "RUNNING")
    high = slurm.submit("-w", "gpu1", "--gres=gpu:8", "--wrap=sleep 60")
    slurm.wait_for(high, "RUNNING")
    slurm.wait_for(low, "PENDING")
    assert accounted(slurm, low, "-D")[0] == "PREEMPTED"


def test_a_wrong_account_and_a_wrong_partition_are_refused(slurm: PrivateSlurm) -> None:
    for option, message in (
        ("--account=nobodys", "Invalid account"),
        ("--partition=nowhere", "invalid partition"),
        ("--gres=gpu:9", "Requested node configuration is not available"),
    ):
        done = slurm.attempt("sbatch", option, "--wrap=true")
        assert done.returncode == 1
        assert message in done.stderr


def test_the_environment_of_the_tests_names_this_cluster(slurm: PrivateSlurm) -> None:
    job = slurm.submit("--hold", "--wrap=true")
    assert os.environ["SLURM_CONF"] == slurm.env["SLURM_CONF"]
    shown = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True)
    assert job in shown.stdout.split()


def test_two_clusters_at_once_do_not_know_each_other(slurm: PrivateSlurm) -> None:
    here = slurm.submit("--hold", "--wrap=true")
    with PrivateSlurm() as other:
        assert other.job_states() == {}
        there = other.submit("--gres=gpu:8", "--job-name=other", "--wrap=sleep 60")
        other.wait_for(there, "RUNNING")
        assert "other" not in slurm.run("squeue", "-h", "-o", "%j")
        left = other.folder
        ports = re.compile(r"Port=(\d+)")
        assert not set(ports.findall((left / "slurm.conf").read_text())) & set(
            ports.findall((slurm.folder / "slurm.conf").read_text())
        )
    assert processes_of(left) == []
    assert not left.exists()
    assert slurm.job_states(here) == {here: "PENDING"}


def test_stop_ends_even_what_a_job_has_put_into_a_session_of_its_own(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # Without SLURM_CONF nothing in it tells whose it is.
    daemon = f"env -u SLURM_CONF setsid --fork bash -c 'echo $$ >{pids}; sleep 300; true'"
    with PrivateSlurm() as other:
        other.submit(f"--wrap={daemon} & sleep 300")
        other.wait_until(lambda: pids.exists() and pids.read_text().strip() != "")
        names = {Path(line.split()[0]).name for _, line in processes_of(other.folder)}
        assert names >= {"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"}
        assert Path("/proc", pids.read_text().strip()).exists()
        left = other.folder
    assert processes_of(left) == []
    assert not Path("/proc", pids.read_text().strip()).exists()
    other.stop()  # once more is no error


def test_a_failed_start_shows_the_daemons_log_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders: list[Path] = []

    write = configuration.write_configuration

    def readable_by_all(folder: Path, *settings: Any) -> None:
        write(folder, *settings)
        folders.append(folder)
        (folder / "slurmdbd.conf").chmod(0o644)

    monkeypatch.setattr(cluster, "write_configuration", readable_by_all)
    with pytest.raises(SlurmStartError, match=r"(?s)slurmdbd ended with code 1:.*should be 600"):
        PrivateSlurm().start()
    assert processes_of(folders[0]) == []
    assert not folders[0].exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_process_that_started_it_is_killed(number: signal.Signals) -> None:
    code = (
        f"import time\nfrom {cluster.__name__} import PrivateSlurm\ns = PrivateSlurm().start()\n"
        "s.wait_for(s.submit('--wrap=sleep 300'), 'RUNNING')\nprint(s.folder, flush=True)\n"
        "time.sleep(300)"
    )
    top = Path(cluster.__file__).parents[cluster.__name__.count(".")]
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=top, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert folder.is_dir() and len(processes_of(folder)) > 7
        owner.send_signal(number)
        owner.wait()
    deadline = time.monotonic() + 15
    while (processes_of(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []
    assert not folder.exists()
