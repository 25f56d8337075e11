"""Two trainings that name one output_dir: one writes, the other is refused or goes on after it."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.files import write_json
from harness.runs.lease import read_writer
from harness.runs.paths import RunPaths
from harness.runs.written import read_written

from .job_run import finish, make_run, start, state, train, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def another_run(paths: RunPaths, max_steps: int) -> RunPaths:
    """A run of the same spec, and so of the same output_dir, but of another length."""
    other = RunPaths(paths.root.with_name("20260102-000000-wxyz"))
    other.root.mkdir(exist_ok=True)
    shutil.copy(paths.spec, other.spec)
    other.spec.write_text(
        paths.spec.read_text().replace("max_steps: 5000", f"max_steps: {max_steps}")
    )
    return other


def test_of_two_at_once_one_is_refused_and_later_goes_on(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "shared"
    first = make_run(tmp_path, inputs, output_dir=str(output), max_steps=5000, save_steps=2)
    second = another_run(first, max_steps=40)
    job = start(first)
    try:
        wait_for(lambda: (output / "checkpoint-2" / "HARNESS_COMPLETE.json").is_file(), job)
        holder = read_writer(output)
        assert holder is not None
        assert holder.run == first.run_id

        code, told = train(second)
        assert code == 1
        assert f"run {first.run_id} (" in state(second)["error"], told
        assert "give another train.output_dir" in told
        assert read_writer(output) == holder
        assert job.poll() is None

        # As after a long sleep: another has taken the folder over meanwhile.
        gone = replace(holder, run="another", started=1.0)
        write_json(output / ".writer.json", asdict(gone))
        code, told = finish(job)
    finally:
        job.kill()
    assert code == 1
    assert "another training writes into" in told
    newest = max(complete_checkpoints(output))
    time.sleep(1)
    assert max(complete_checkpoints(output)) == newest  # nobody writes on

    second = another_run(first, max_steps=newest + 2)
    code, told = train(second)
    assert code == 0, told
    assert f"going on from checkpoint-{newest}" in told
    runs = {s: (read_marker(p) or {})["run"] for s, p in complete_checkpoints(output).items()}
    assert runs == {s: first.run_id if s <= newest else second.run_id for s in runs}
    assert set(read_written(second)) == {f"checkpoint-{step}" for step in runs}
    assert set(read_written(first)) == {f"checkpoint-{s}" for s in runs if s <= newest}
    assert read_writer(output) is None  # done: let go
