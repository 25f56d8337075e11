"""Commands in a role's environment; secrets only where the site says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.config.site import Environment, Site
from harness.processes.environments import job_environment, slurm_environment, wrap


def test_without_an_environment_the_command_stays_as_it_is() -> None:
    assert wrap(Environment(), ["vllm", "serve"], ["/run"]) == ["vllm", "serve"]


def test_activate_lines_run_first_and_arguments_stay_whole() -> None:
    command = wrap(
        Environment(activate=("export GREETING='hi you'",)),
        ["sh", "-c", 'echo "$GREETING $0"', "a  b"],
        [],
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "hi you a  b\n"


def test_containers_see_the_run_and_the_sites_mounts() -> None:
    box = Environment(container="/i.sif", mounts=("/data:/d",))
    assert wrap(box, ["x"], ["/run", "/run"]) == [
        "apptainer", "exec", "--nv", "--bind", "/run:/run", "--bind", "/data:/d", "/i.sif", "x",
    ]  # fmt: skip
    enroot = Environment(container="i", runtime="enroot", variables={"A": "1"})
    assert wrap(enroot, ["x"], ["/run"]) == [
        "enroot", "start", "--rw", "--mount", "/run:/run", "--env", "A", "i", "x",
    ]  # fmt: skip
    pyxis = Environment(container="i", runtime="pyxis")
    assert wrap(pyxis, ["x"], ["/run"])[:3] == ["srun", "--overlap", "--ntasks=1"]


SITES = {
    "SBATCH_EXPORT": "NONE", "SBATCH_ARRAY_INX": "0-99", "SBATCH_WAIT": "1", "SBATCH_GRES": "gpu:1",
    "SBATCH_ACCOUNT": "lab", "SRUN_EXPORT_ENV": "NONE", "SLURM_EXPORT_ENV": "NONE",
    "SQUEUE_USERS": "x", "SCANCEL_INTERACTIVE": "1", "SACCT_FEDERATION": "1", "SCONTROL_ALL": "1",
    "SLURM_EXIT_ERROR": "0",
}  # fmt: skip
CLUSTER = {"SLURM_CONF": "/c", "SLURM_CONF_SERVER": "s", "SLURM_JWT": "t", "SLURM_CLUSTERS": "a"}


def test_nothing_that_changes_what_slurms_programs_do_reaches_them_or_a_job() -> None:
    shell = {"PATH": "/bin", "SLURMY": "1", **CLUSTER}
    assert slurm_environment({**shell, **SITES}) == shell
    assert job_environment({**shell, **SITES}, Site()) == shell


def test_a_cluster_that_only_sbatch_knows_holds_for_all() -> None:
    given = {"SBATCH_CLUSTERS": "b"}
    assert slurm_environment(given) == {"SLURM_CLUSTERS": "b"}
    assert slurm_environment({**CLUSTER, **given}) == {**CLUSTER, "SLURM_CLUSTERS": "b"}
    assert slurm_environment({"SBATCH_CLUSTERS": ""}) == {}


def test_the_output_of_activate_lines_is_not_the_programs(tmp_path: Path) -> None:
    chatty = Environment(activate=("echo loaded; echo aside >&2", "export A=1"))
    done = subprocess.run(wrap(chatty, ["sh", "-c", "echo $A"], []), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert sorted(done.stderr.split()) == ["aside", "loaded"]


def test_only_listed_secrets_reach_a_job() -> None:
    shell = {
        "PATH": "/bin", "HF_TOKEN": "a", "OPENAI_API_KEY": "b", "AWS_SECRET": "c", "DB_PASSWORD": "d",
        "SLURM_JOB_ID": "7", "SLURM_CONF": "/c", "HOME": "/h",
    }  # fmt: skip
    assert job_environment(shell, Site(secrets=("HF_TOKEN",))) == {
        "PATH": "/bin", "HF_TOKEN": "a", "SLURM_CONF": "/c", "HOME": "/h",
    }  # fmt: skip
