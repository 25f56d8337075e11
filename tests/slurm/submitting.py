"""Submitting to a private Slurm through a site's own sbatch, without any work being done."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT

from .cluster import PrivateSlurm

SPEC: dict[str, Any] = {
    "train": {"model_name": "/no/model", "dataset_name": "/no/data", "max_steps": 1, "save_steps": 1},
    "evaluation": {"benchmarks": ["arithmetic", "instructions"]},
}  # fmt: skip
JOBS = ("train", "eval-checkpoint-1", "close", "collect")


class Submitter:
    """A user whose jobs are held, and whose sbatch may be another than Slurm's."""

    def __init__(self, folder: Path, slurm: PrivateSlurm) -> None:
        self.folder, self.slurm = folder, slurm
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.real = str(subprocess.check_output(["which", "sbatch"], text=True)).strip()
        self.site(slurm={"extra": {"hold": True}})
        (folder / "tiny.yaml").write_text(yaml.safe_dump(SPEC))

    def site(self, **fields: Any) -> None:
        own = {"scheduler": "slurm", "runs_dir": str(self.folder / "runs"),
               "benchmarks_dir": str(self.folder / "benchmarks")}  # fmt: skip
        (self.folder / "site.yaml").write_text(yaml.safe_dump(own | fields))

    def program(self, name: str, text: str) -> None:
        """A program first on the user's PATH; `$REAL` in it is Slurm's own sbatch."""
        file = self.bin / name
        file.write_text("#!/bin/bash\n" + text.replace("$REAL", self.real))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def harness(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        own = self.slurm.process_env()
        own["PATH"] = f"{self.bin}{os.pathsep}{own['PATH']}"
        return subprocess.run(
            [sys.executable, "-m", "harness", *argv, "--site", str(self.folder / "site.yaml")],
            cwd=ROOT, env=own | env, capture_output=True, text=True, timeout=240,
        )  # fmt: skip

    def submit(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.harness("submit", str(self.folder / "tiny.yaml"), "--no-check", *options, **env)

    def run(self) -> Path:
        """The folder of the only run."""
        (manifest,) = (self.folder / "runs").glob("*/*-*/manifest.json")
        return manifest.parent

    def status(self) -> dict[str, Any]:
        done = self.harness("status", "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def ids(self) -> dict[str, str]:
        """The record of the run: job -> id."""
        data = json.loads((self.run() / "manifest.json").read_text())
        return {entry["job"]: entry["id"] for entry in data.get("submissions", [])}

    def queue(self) -> dict[str, str]:
        """Slurm's own word: the user's living jobs, name -> id."""
        text = self.slurm.run("squeue", "-h", "-o", "%j|%F")
        lines = [line.rpartition("|") for line in text.splitlines() if line.startswith("tiny.")]
        return {name.rpartition(":")[2]: job_id for name, _, job_id in lines}
