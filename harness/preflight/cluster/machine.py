"""Does the machine or cluster have what the run asks for: folders, GPUs, images, keys."""

from __future__ import annotations

import os
from pathlib import Path

from harness.config.site import Site, SlurmOptions
from harness.config.spec import Spec
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, note, warning


def has_gpu() -> bool:
    """Whether this machine has a GPU's device file (NVIDIA's or AMD's driver)."""
    return any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/kfd"))


def check_machine(spec: Spec, site: Site, scheduler: str) -> list[Finding]:
    """Findings about the site, and about this machine where jobs run here."""
    findings = check_site(site, scheduler)
    if scheduler == "slurm" and spec.train.use_cpu:
        findings.append(_cpu_job(spec.train, site))
    if scheduler == "local" and spec.train.nodes > 1:
        findings.append(error("train.nodes", "the local scheduler has one machine", "nodes: 1"))
    if scheduler == "local" and not spec.train.use_cpu and not has_gpu():
        cure = "Set train.use_cpu: true (and bf16: false) to train in two CPU processes"
        findings.append(error("train.use_cpu", "this machine has no GPU", cure))
    unset = [name for name in site.secrets if name not in os.environ]
    if "wandb" in spec.train.report_to and "WANDB_API_KEY" in unset:
        findings.append(warning("train.report_to", "wandb is asked for, WANDB_API_KEY is not set"))
    return findings


def _cpu_job(train: TrainSpec, site: Site) -> Finding:
    """What training without GPUs asks Slurm for."""
    options, shares = site.options("train"), train.cpu_processes
    memory = options.mem_per_gpu_gb
    asked = f"{(options.cpus_per_gpu or 1) * shares} CPUs"
    asked += f", {memory * shares} GB of memory" if memory else ", the partition's usual memory"
    return note(
        "train.use_cpu",
        f"training asks Slurm for no GPU: {train.nodes} x ({asked}), for {shares} processes each "
        f"(site: cpus_per_gpu, mem_per_gpu_gb), in {_partition(options)}",
    )


def _partition(options: SlurmOptions) -> str:
    named = options.partition or os.environ.get("SBATCH_PARTITION")
    return f"partition {named}" if named else "the default partition"


def check_site(site: Site, scheduler: str) -> list[Finding]:
    """Findings about the site alone: its folders and images."""
    findings = []
    runs_dir = Path(site.runs_dir)
    existing = next(p for p in (runs_dir, *runs_dir.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        findings.append(error("site: runs_dir", f"{runs_dir}: cannot be written (at {existing})"))
    for role, environment in site.environments.items():
        if scheduler == "local" and environment.container and environment.runtime == "pyxis":
            findings.append(error(f"site: environments.{role}", "pyxis needs Slurm's srun"))
        image = environment.container or ""
        if image.startswith("/") and not Path(image).exists():
            findings.append(
                error(f"site: environments.{role}.container", f"{image}: no such image")
            )
    return findings
