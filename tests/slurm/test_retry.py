"""`retry` on a real Slurm: what failed is made again, what is ok is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .cluster import PrivateSlurm
from .test_chain import Cluster, cluster, job_id  # noqa: F401  (a fixture)

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("aiohttp", reason="needs the extra `eval`")


def submissions(run: Path) -> list[tuple[str, list[int]]]:
    found = json.loads((run / "manifest.json").read_text())["submissions"]
    return [(s["job"], s.get("tasks", [])) for s in found]


@pytest.mark.timeout(1800)
def test_a_killed_task_of_an_array_is_made_again_and_no_other(
    cluster: Cluster,  # noqa: F811
    slurm: PrivateSlurm,
) -> None:
    done = cluster.harness("submit", str(cluster.spec(["arithmetic", "instructions"], max_steps=1)))
    assert done.returncode == 0, done.stderr
    run = (cluster.folder / "runs" / "tiny" / "latest").resolve()
    cells = run / "eval" / "checkpoint-1"
    array = job_id(run, "eval-checkpoint-1")
    before = submissions(run)
    for options in ((), ("--dry-run",)):
        refused = cluster.harness("retry", *options)
        assert refused.returncode == 2
        assert "is not over" in refused.stderr
    slurm.wait_until((cells / "instructions" / "task.json").is_file, 600, "the task to begin")
    slurm.run("scancel", "--signal=KILL", f"{array}_1")
    followed = cluster.harness("status", "--wait", "--poll", "2", timeout=900)
    assert followed.returncode == 1, (followed.stdout, followed.stderr)
    assert "2 cells: 1 ok, 1 failed" in followed.stdout, followed.stdout
    first = {p: p.read_bytes() for p in (cells / "arithmetic").iterdir() if p.is_file()}

    shown = cluster.harness("retry", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "eval-checkpoint-1: instructions (failed)" in shown.stdout
    assert "arithmetic" not in shown.stdout
    assert "1 cells are ok and stay as they are" in shown.stdout
    assert submissions(run) == before
    again = cluster.harness("retry", "--wait", "--poll", "2", timeout=900)
    assert again.returncode == 0, (again.stdout, again.stderr)
    assert submissions(run)[len(before) :] == [("eval-checkpoint-1", [1]), ("collect", [])]
    collected = cluster.harness("collect")
    assert "2 cells: 2 ok" in collected.stdout
    assert {p: p.read_bytes() for p in first} == first, "the ok cell was made again"
    tasks = slurm.run("sacct", "-X", "-n", "-P", "--format=JobID", "-j", job_id(run, "eval-checkpoint-1"))  # fmt: skip
    assert tasks.split() == [f"{job_id(run, 'eval-checkpoint-1')}_1"]
    nothing = cluster.harness("retry")
    assert (nothing.returncode, "nothing to retry" in nothing.stderr) == (0, True), nothing.stderr
