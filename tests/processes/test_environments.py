"""Commands in a role's environment; secrets only where the site says so."""

from __future__ import annotations

import subprocess

from harness.config.site import Environment, Site
from harness.processes.environments import job_environment, wrap


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


def test_only_listed_secrets_reach_a_job() -> None:
    shell = {
        "PATH": "/bin", "HF_TOKEN": "a", "OPENAI_API_KEY": "b", "AWS_SECRET": "c", "DB_PASSWORD": "d",
        "SLURM_JOB_ID": "7", "SLURM_CONF": "/c", "HOME": "/h",
    }  # fmt: skip
    assert job_environment(shell, Site(secrets=("HF_TOKEN",))) == {
        "PATH": "/bin", "HF_TOKEN": "a", "SLURM_CONF": "/c", "HOME": "/h",
    }  # fmt: skip
