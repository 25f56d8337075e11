"""The private Slurm that the tests of this package share, and its place in their environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import FOREIGN, PrivateSlurm
from .machine import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    """One running cluster for the whole session (about 5 s to start)."""
    if reason := missing():
        pytest.skip(reason)
    with PrivateSlurm() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def slurm_environment(slurm: PrivateSlurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Code under test that calls sbatch, squeue, … finds the private cluster and no other.

    Jobs that a test submits are cancelled after it, so that the next one finds its GPUs free.
    """
    for name in os.environ:
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    before = slurm.job_states().keys()
    yield
    if left := {job.partition("_")[0] for job in slurm.job_states().keys() - before}:
        slurm.attempt("scancel", "--quiet", *left)
