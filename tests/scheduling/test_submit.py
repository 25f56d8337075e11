"""From a plan to jobs: the folder whole before the first job, and nothing left after a refusal."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.config.load import load_run_spec, load_site
from harness.config.site import Site
from harness.errors import SchedulerError, SubmissionError, UserError
from harness.plan.manifest import read_manifest
from harness.plan.plan import PlannedJob
from harness.runs.paths import RunPaths
from harness.scheduling import submit as module
from harness.scheduling.schedulers.scheduler import Dependency, submitted_name
from harness.scheduling.stage import Staged, stage
from harness.scheduling.submit import submit, write_run_folder
from tests.plan.test_plan import make_spec


class Cluster:
    """Takes jobs and numbers them; refuses one of a given name, and says so in Slurm's place."""

    name = "local"

    def __init__(self, refuses: str = "", stays: bool = False) -> None:
        self.refuses, self.stays = refuses, stays
        self.jobs: dict[str, tuple[str, list[str]]] = {}
        self.cancelled: list[str] = []
        self.started: list[RunPaths] = []

    def submit(
        self, run: RunPaths, job: PlannedJob, after: Sequence[Dependency], site: Site,
        run_job: Any, tasks: Sequence[int] = (),
    ) -> str:  # fmt: skip
        announced = [intent.name for intent in read_manifest(run).intents]
        assert announced[0] == submitted_name(run, job.name), "written down before it is submitted"
        if job.name == self.refuses:
            raise SubmissionError(f"sbatch refused {job.name}: invalid partition", "no")
        job_id = str(len(self.jobs) + 11)
        self.jobs[job.name] = (job_id, [f"{d.condition}:{d.job_id}" for d in after])
        return job_id

    def find(self, names: Sequence[str]) -> dict[str, list[str]]:
        return {}

    def start(self, run: RunPaths, site: Site) -> None:
        assert len(read_manifest(run).submissions) == len(self.jobs)
        self.started.append(run)

    def cancel(self, job_ids: Iterable[str]) -> None:
        if self.stays:
            raise SchedulerError("controller down")
        self.cancelled += job_ids


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    site = Site(runs_dir=str(tmp_path / "it's runs é"), benchmarks_dir=str(tmp_path / "b"))
    return stage(make_spec(benchmarks=["arithmetic"], checkpoints="last"), site, "local", None)


def go(staged: Staged, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(module, "scheduler_named", lambda name, run: cluster)
    assert submit(staged, lambda *_: "", lines.append) == staged.run
    return lines


def test_every_job_is_submitted_in_order_and_hangs_on_those_before_it(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    lines = go(staged, cluster, monkeypatch)
    assert cluster.jobs == {
        "train": ("11", []),
        "eval-checkpoint-10": ("12", ["afterok:11"]),
        "close": ("13", ["afterany:11"]),
        "collect": ("14", ["afterany:11", "afterany:12", "afterany:13"]),
    }
    assert lines == [f"{name}: job {job_id}" for name, (job_id, _) in cluster.jobs.items()]
    assert (cluster.started, cluster.cancelled) == ([staged.run], [])
    submissions = read_manifest(staged.run).submissions
    assert {s.job: s.id for s in submissions} == {n: i for n, (i, _) in cluster.jobs.items()}


def test_the_folder_says_all_that_was_planned(
    tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(staged, Cluster(), monkeypatch)
    run = staged.run
    assert load_run_spec(run.spec) == staged.spec
    assert load_site(run.site) == staged.site
    manifest = read_manifest(run)
    assert (manifest.run_id, manifest.plan) == (run.run_id, staged.plan)
    assert manifest.environment["python"]
    for name, text in staged.scripts.items():
        assert run.script(name).read_text() == text
        assert stat.S_IMODE(run.script(name).stat().st_mode) == 0o755
        assert run.logs(name).is_dir()
    assert (run.root.parent / "latest").resolve() == run.root.resolve()
    assert sorted(p.name for p in run.root.parent.iterdir()) == [run.run_id, "latest"]
    assert (tmp_path / "b" / "arithmetic.jsonl").is_file()  # generated, before any job asks for it


def test_the_commands_can_be_read_by_bash_and_name_each_job(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(staged, Cluster(), monkeypatch)
    text = staged.run.commands.read_text()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    name = submitted_name(staged.run, "eval-checkpoint-10")
    assert f"# job 12: sbatch --job-name={name} --export=ALL --dependency=afterok:11 " in text
    line = next(x for x in text.splitlines() if " eval-checkpoint-10 0" in x)
    program = f"printf '%s\\n' {line.removeprefix('# ')}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words == [
        "python",
        "-m",
        "harness.entry",
        str(staged.run.root),
        "eval-checkpoint-10",
        "0",
    ]


@pytest.mark.parametrize(("refused", "before"), [("train", []), ("close", ["11", "12"])])
def test_a_refusal_cancels_what_was_taken_and_leaves_no_folder(
    staged: Staged, monkeypatch: pytest.MonkeyPatch, refused: str, before: list[str]
) -> None:
    cluster = Cluster(refuses=refused)
    with pytest.raises(UserError) as caught:
        go(staged, cluster, monkeypatch)
    assert str(caught.value) == (
        f"sbatch refused {refused}: invalid partition\nNothing is left submitted."
    )
    assert (cluster.cancelled, cluster.started) == (before, [])
    assert list(staged.run.root.parent.iterdir()) == []


def test_jobs_that_cannot_be_cancelled_again_are_named_and_keep_their_folder(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SchedulerError) as caught:
        go(staged, Cluster(refuses="close", stays=True), monkeypatch)
    assert str(caught.value) == (
        "2 jobs were submitted and could not be cancelled again: 11, 12 (controller down)"
    )
    assert len(read_manifest(staged.run).submissions) == 2


def test_a_folder_that_cannot_be_written_is_one_message_and_no_job(
    tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it's runs é").write_text("")
    cluster = Cluster()
    with pytest.raises(UserError, match="the run folder cannot be written: ") as caught:
        go(staged, cluster, monkeypatch)
    assert str(caught.value).startswith(f"{staged.run.root}: ")
    assert cluster.jobs == {}


def test_a_folder_of_that_name_is_kept_and_no_half_of_another_is_left(staged: Staged) -> None:
    staged.run.root.mkdir(parents=True)
    (staged.run.root / "mine").write_text("")
    with pytest.raises(OSError, match="not empty"):
        write_run_folder(staged)
    assert [p.name for p in staged.run.root.parent.iterdir()] == [staged.run.run_id]
    assert [p.name for p in staged.run.root.iterdir()] == ["mine"]


def test_a_spec_in_another_alphabet_is_readable_in_its_file(tmp_path: Path) -> None:
    site = Site(runs_dir=str(tmp_path / "r"), benchmarks_dir=str(tmp_path / "b"))
    spec = make_spec(
        {"model_name": "/模型/ü", "dataset_name": "/d\t'x'\"y\""}, benchmarks=["gsm8k"]
    )
    staged = stage(spec, site, "local", None)
    write_run_folder(staged)
    assert "/模型/ü" in staged.run.spec.read_text(encoding="utf-8")
    assert load_run_spec(staged.run.spec) == spec
    # What the site file left open stays open: a later default is not frozen into the run.
    assert set(staged.run.site.read_text().split(":")[0:1]) == {"runs_dir"}
    assert json.loads(staged.run.manifest.read_text())["scheduler"] == "local"


def test_a_job_imports_the_package_as_it_was_submitted_from_whatever_folder(
    tmp_path: Path, staged: Staged
) -> None:
    """Python looks into the current folder first, where a newer checkout may lie."""
    write_run_folder(staged)
    other = tmp_path / "checkout"
    (other / "harness").mkdir(parents=True)
    (other / "harness" / "__init__.py").write_text("raise SystemExit('not this one')")
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f"#!/bin/bash\nexec {sys.executable} -m harness.package\n")
    srun.chmod(0o755)
    for name in staged.scripts:
        done = subprocess.run(
            ["bash", str(staged.run.script(name))], cwd=other, capture_output=True, text=True,
            env={"PATH": f"{srun.parent}:{os.environ['PATH']}", "PYTHONPATH": str(other)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(staged.run.code)
