"""What `sbatch --test-only` says becomes findings; here a script says it in the words of the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.site import Site
from harness.preflight.cluster.slurm import check_slurm
from harness.scheduling.stage import stage
from tests.plan.test_plan import make_spec

NO_CONTROLLER = (
    "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
    "sbatch: fatal: Could not establish a configuration source"
)


def sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


def test_a_cluster_that_does_not_answer_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch(tmp_path, monkeypatch, f"echo '{NO_CONTROLLER}' >&2; exit 1")
    (found,) = check_slurm(stage(make_spec(), Site(runs_dir=str(tmp_path)), "slurm", None))
    assert (found.level, found.place) == ("error", "site: slurm")
    assert "Could not establish a configuration source" in found.message
    assert "scheduler=local" in found.cure


def test_a_job_that_is_refused_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "echo 'sbatch: error: invalid account' >&2; exit 1"
    sbatch(tmp_path, monkeypatch, f"if grep -q ':train'; then {refuse}; fi")
    (found,) = check_slurm(stage(make_spec(), Site(runs_dir=str(tmp_path)), "slurm", None))
    assert (found.place, found.message) == (
        "site: jobs.train",
        "Slurm would refuse train: invalid account",
    )


def test_nothing_is_asked_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_slurm(stage(make_spec(), Site(runs_dir=str(tmp_path)), "local", None)) == []
