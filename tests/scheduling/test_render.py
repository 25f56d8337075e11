"""The scripts: golden for the standard run, safe for hostile values, complete for submitit."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit.slurm.slurm import _make_sbatch_string

from harness.config.load import find_spec, load_site, load_spec
from harness.config.site import Environment, Site, SlurmOptions
from harness.errors import UserError
from harness.plan.plan import build_plan
from harness.runs.paths import RunPaths
from harness.scheduling.render import Place, describe, render
from tests.plan.test_plan import make_spec
from tests.support import ROOT

GOLDEN = ROOT / "tests" / "golden" / "sft"
PLACE = Place(
    RunPaths(Path("/shared/runs/qwen3-1.7b-tulu3/20260131-120000-abcd")),
    project=Path("/shared/harness"),
    python="/shared/env/bin/python",
)
SPEC = load_spec(find_spec("sft.yaml"))


def scripts(site: Site, place: Place = PLACE) -> dict[str, str]:
    plan = build_plan(SPEC, site)
    return {job.name: render(job, plan, site, place) for job in plan.jobs}


@pytest.mark.parametrize("job", ["train", "eval-checkpoint-500", "close", "collect"])
def test_scripts_of_the_standard_run_are_the_golden_ones(job: str) -> None:
    """HARNESS_UPDATE_GOLDEN=1 writes them anew; read the difference before committing it."""
    text = scripts(load_site(None))[job]
    path = GOLDEN / f"{job}.sbatch"
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def options(text: str) -> dict[str, str]:
    """#SBATCH options as sbatch reads them."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#SBATCH --"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            found[name] = "".join(shlex.split(value))
    return found


@pytest.mark.parametrize("array", [False, True])
def test_our_script_supplies_all_that_submitits_own_does(array: bool) -> None:
    job = "eval-checkpoint-500" if array else "train"
    ours = scripts(Site())[job]
    folder = PLACE.run.logs(job)
    theirs = _make_sbatch_string(
        command="COMMAND", folder=folder, time=1440, nodes=1, signal_delay_s=120,
        map_count=4 if array else None, array_parallelism=4,
    )  # fmt: skip
    expected, given_ = options(theirs), options(ours)
    for name in ("output", "error", "open-mode", "signal"):
        assert given_[name] == expected[name], name
    if array:
        assert given_["array"] == expected["array"].partition("%")[0]
    assert "export SUBMITIT_EXECUTOR=slurm" in theirs
    assert "export SUBMITIT_EXECUTOR=slurm" in ours
    line = next(x for x in theirs.splitlines() if x.startswith("srun"))
    their_srun = shlex.split(line)
    for flag in ("--output", "--error"):
        value = their_srun[their_srun.index(flag) + 1]
        assert f"{flag}={value}" in ours
    assert f"-u -m submitit.core._submit {folder}" in ours


def test_every_script_is_valid_bash() -> None:
    for text in scripts(Site()).values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_site_options_reach_the_script() -> None:
    site = Site(
        slurm=SlurmOptions(
            partition="gpu", account="lab", qos="high", constraint="h100&nvlink", gres_style="gres",
            gpu_type="h100", mem_per_gpu_gb=100, max_parallel_tasks=2,
            extra={"mail-type": "END", "exclusive": True},
        )
    )  # fmt: skip
    found = options(scripts(site)["eval-checkpoint-500"])
    assert found["partition"] == "gpu"
    assert found["constraint"] == "h100&nvlink"
    assert found["gres"] == "gpu:h100:8"
    assert found["mem"] == "800G"
    assert found["array"] == "0-3%2"
    assert found["mail-type"] == "END"
    assert found["exclusive"] == ""


def test_a_run_on_cpu_asks_for_no_gpu_anywhere() -> None:
    site = Site(slurm=SlurmOptions(mem_per_gpu_gb=10, cpus_per_gpu=4, gpu_type="h100"))
    spec = make_spec({"use_cpu": True, "cpu_processes": 2},
                     server={"engine": "transformers", "gpus": 0})  # fmt: skip
    plan = build_plan(spec, site)
    for job in plan.jobs:
        text = render(job, plan, site, PLACE)
        assert "gpu" not in text.lower(), job.name
    train = options(render(plan.job("train"), plan, site, PLACE))
    assert (train["cpus-per-task"], train["mem"]) == ("8", "20G")
    assert describe(plan.job("train"), plan).endswith("steps on 1 x 2 CPU processes")
    array = next(job for job in plan.jobs if job.is_array)
    assert options(render(array, plan, site, PLACE))["cpus-per-task"] == "4"


def test_a_roles_environment_is_activated_or_its_container_entered() -> None:
    activated = Site(environments={"train": Environment(activate=("source /envs/t/bin/activate",))})
    text = scripts(activated)["train"]
    assert "\nsource /envs/t/bin/activate\n" in text
    assert "    python -u -m submitit" in text
    boxed = Site(
        environments={"train": Environment(container="/images/t.sif", mounts=("/data:/data",))}
    )
    text = scripts(boxed)["train"]
    assert "apptainer exec --nv --bind" in text
    assert "/data:/data /images/t.sif python -u -m submitit" in text
    pyxis = Site(environments={"train": Environment(container="nvcr.io#t", runtime="pyxis")})
    assert "    '--container-image=nvcr.io#t' \\" in scripts(pyxis)["train"]


@pytest.mark.parametrize("bad", ["/runs/100%", "/runs/a\nb", "/runs/back\\slash"])
def test_a_run_folder_that_slurm_would_misread_is_refused(bad: str) -> None:
    with pytest.raises(UserError, match="runs_dir"):
        scripts(Site(), replace(PLACE, run=RunPaths(Path(bad) / "x" / "20260131-120000-abcd")))


HOSTILE = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="%\\/"),
    min_size=1,
    max_size=30,
).filter(lambda text: text not in (".", "..") and text == text.strip())
"""What a site may say; blanks around a word are refused with the field's name."""


@given(HOSTILE)
def test_hostile_values_stay_one_word(name: str) -> None:
    place = Place(
        RunPaths(Path("/runs") / name / "20260131-120000-abcd"),
        project=Path("/p") / name,
        python=f"/v/{name}/python",
    )
    site = Site(slurm=SlurmOptions(account=name))
    text = scripts(site, place)["close"]
    found = options(text)
    assert found["account"] == name
    assert found["output"] == f"{place.run.logs('close')}/%j_0_log.out"
    command = text[text.index("srun \\\n") :].replace("\\\n", " ")
    assert shlex.split(command)[-5:] == [
        place.python, "-u", "-m", "submitit.core._submit", str(place.run.logs("close")),
    ]  # fmt: skip


def test_bash_reads_hostile_values_back_as_they_are() -> None:
    value = "a'b\"c $HOME `id` $(id) ; é"
    site = Site(environments={"train": Environment(variables={"NOTE": value})})
    text = scripts(site)["train"]
    exports = text[text.index("export SUBMITIT") : text.index("# One srun")]
    done = subprocess.run(
        ["bash", "-c", f'{exports}\nprintf %s "$NOTE"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == value
