"""Does the machine or cluster have what the run asks for: folders, GPUs, images, keys."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.config.site import Site, SlurmOptions
from harness.config.spec import Spec
from harness.config.training.trackers import TRACKER_KEYS
from harness.config.training.train import TrainSpec
from harness.preflight.cluster.offline import is_hosted
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
    return findings + _check_keys(spec.train.report_to, site)


def _check_keys(trackers: Iterable[str], site: Site) -> list[Finding]:
    """Do jobs have the keys of the services that training reports to."""
    findings = []
    for tracker in trackers:
        key = TRACKER_KEYS.get(tracker)
        if key is None or not is_hosted(tracker, site):
            continue
        if key not in os.environ:
            text = f"{tracker} is asked for, {key} is not set"
            findings.append(warning("train.report_to", text, f"export {key}=…"))
        elif key not in site.secrets:
            text = f"{tracker} is asked for, and the site does not let jobs see ${key}"
            cure = f"secrets: [{', '.join([*site.secrets, key])}] in the site file"
            findings.append(warning("train.report_to", text, cure))
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
