"""Does the machine have what a run asks for: folders, GPUs, images, keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Environment, Site, SlurmOptions
from harness.config.spec import Spec
from harness.preflight.cluster import machine
from harness.preflight.cluster.machine import check_machine, check_site, has_gpu


def site(folder: Path, **fields: Any) -> Site:
    return Site(**{"runs_dir": str(folder / "runs"), "benchmarks_dir": str(folder), **fields})


def spec(**train: Any) -> Spec:
    base = {"model_name": "m", "dataset_name": "d", "use_cpu": True}
    return Spec.model_validate({"name": "r", "train": base | train})


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_that_can_be_made_has_no_findings(tmp_path: Path) -> None:
    there = site(tmp_path, runs_dir=str(tmp_path / "not" / "yet" / "it's é"))
    assert check_machine(spec(), there, "local") == []
    assert not (tmp_path / "not").exists()


def test_a_runs_folder_below_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    (found,) = check_site(site(tmp_path, runs_dir=str(file / "x" / "runs")), "slurm")
    assert (found.level, found.place) == ("error", "site: runs_dir")
    assert found.message == f"{file / 'x' / 'runs'}: cannot be written (at {file})"


def test_a_folder_that_may_not_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere, so the answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    (found,) = check_site(site(tmp_path), "slurm")
    assert found.message == f"{tmp_path / 'runs'}: cannot be written (at {tmp_path})"


def test_an_image_by_path_must_be_there_and_one_of_a_registry_is_not_asked_for(
    tmp_path: Path,
) -> None:
    image = tmp_path / "vllm image.sif"
    there = site(
        tmp_path,
        environments={
            "vllm": Environment(container=str(image)),
            "train": Environment(container="nvcr.io#nvidia/pytorch:25.01"),
            "evaluate": Environment(activate=("source /no/such/venv",)),
        },
    )
    (found,) = check_site(there, "slurm")
    assert (found.level, found.place) == ("error", "site: environments.vllm.container")
    assert found.message == f"{image}: no such image"
    image.write_text("")
    assert check_site(there, "slurm") == []


def test_pyxis_is_refused_only_where_there_is_no_srun(tmp_path: Path) -> None:
    environments = {"vllm": Environment(container="nvcr.io#x", runtime="pyxis")}
    there = site(tmp_path, environments=environments)
    (found,) = check_site(there, "local")
    assert (found.place, found.message) == ("site: environments.vllm", "pyxis needs Slurm's srun")
    assert check_site(there, "slurm") == []


def test_several_machines_are_refused_here_and_not_on_slurm(tmp_path: Path) -> None:
    (found,) = check_machine(spec(nodes=2), site(tmp_path), "local")
    assert (found.level, found.place, found.cure) == ("error", "train.nodes", "nodes: 1")
    found = check_machine(spec(nodes=2), site(tmp_path), "slurm")
    assert [f.level for f in found] == ["note"]


@pytest.mark.parametrize("there", [True, False])
def test_training_on_gpus_here_needs_one_and_the_cure_names_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(machine, "has_gpu", lambda: there)
    found = check_machine(spec(use_cpu=False), site(tmp_path), "local")
    assert [f.place for f in found] == ([] if there else ["train.use_cpu"])
    assert all(f.level == "error" and "train.use_cpu: true" in f.cure for f in found)
    assert check_machine(spec(use_cpu=False), site(tmp_path), "slurm") == []
    assert check_machine(spec(use_cpu=True), site(tmp_path), "local") == []


@pytest.mark.parametrize("device", ["nvidia0", "kfd", None])
def test_a_gpu_is_known_by_its_device_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str | None
) -> None:
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / Path(name).name)
    if device:
        (tmp_path / device).write_text("")
    assert has_gpu() == (device is not None)


def test_wandb_without_its_key_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(report_to=["wandb"], use_cpu=False)
    (found,) = check_machine(asked, site(tmp_path), "slurm")
    assert (found.level, found.place) == ("warning", "train.report_to")
    assert "WANDB_API_KEY is not set" in found.message
    other = spec(report_to=["tensorboard"], use_cpu=False)
    assert check_machine(other, site(tmp_path), "slurm") == []
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert check_machine(asked, site(tmp_path), "slurm") == []


@pytest.mark.parametrize(
    ("tracker", "key", "mode"),
    [
        ("wandb", "WANDB_API_KEY", "WANDB_MODE"),
        ("comet_ml", "COMET_API_KEY", "COMET_MODE"),
        ("swanlab", "SWANLAB_API_KEY", "SWANLAB_MODE"),
    ],
)
def test_a_key_that_the_site_keeps_from_jobs_is_a_warning_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: str, key: str, mode: str
) -> None:
    monkeypatch.setenv(key, "x")
    monkeypatch.delenv(mode, raising=False)
    asked, hidden = spec(report_to=[tracker], use_cpu=False), site(tmp_path, secrets=("HF_TOKEN",))
    (found,) = check_machine(asked, hidden, "slurm")
    assert (found.level, found.place) == ("warning", "train.report_to")
    assert found.message == f"{tracker} is asked for, and the site does not let jobs see ${key}"
    assert found.cure == f"secrets: [HF_TOKEN, {key}] in the site file"
    assert check_machine(asked, site(tmp_path, secrets=("HF_TOKEN", key)), "slurm") == []
    monkeypatch.setenv(mode, "offline")  # then nothing is sent
    assert check_machine(asked, hidden, "slurm") == []


@pytest.mark.parametrize(
    ("options", "variable", "said"),
    [
        ({}, None, "2 x (24 CPUs, the partition's usual memory), for 3 processes each (site: "
         "cpus_per_gpu, mem_per_gpu_gb), in the default partition"),
        ({"cpus_per_gpu": 4, "mem_per_gpu_gb": 10, "partition": "cpu"}, "gpu",
         "2 x (12 CPUs, 30 GB of memory), for 3 processes each (site: cpus_per_gpu, "
         "mem_per_gpu_gb), in partition cpu"),
        ({}, "gpu", "in partition gpu"),
    ],
    ids=["defaults", "site", "shell"],
)  # fmt: skip
def test_training_on_cpu_says_what_it_asks_slurm_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, variable: str | None, said: str
) -> None:
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    if variable:
        monkeypatch.setenv("SBATCH_PARTITION", variable)
    there = site(tmp_path, slurm=SlurmOptions(**options))
    (found,) = check_machine(spec(nodes=2, cpu_processes=3), there, "slurm")
    assert (found.level, found.place) == ("note", "train.use_cpu")
    assert found.message.startswith("training asks Slurm for no GPU: 2 x (")
    assert found.message.endswith(said)
