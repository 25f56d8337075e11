"""A run knows the checkpoints that it wrote or went on from, even when they are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.runs.checkpoints import mark_complete, read_marker
from harness.runs.paths import RunPaths
from harness.runs.written import note_written, read_written

from .test_files import find_model


def checkpoint(folder: Path, step: int, run: str = "a", mark: str = "") -> Path:
    path = folder / f"checkpoint-{step}"
    if not path.exists():
        find_model(path)
    (path / "generation_config.json").write_text(f'{{"mark": "{mark}"}}')
    mark_complete(path, run=run)
    return path


def fingerprint(path: Path) -> str:
    return str((read_marker(path) or {})["fingerprint"])


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs" / "n" / "20260101-000000-abcd")


def test_a_run_that_wrote_nothing_knows_of_nothing(run: RunPaths) -> None:
    assert read_written(run) == {}


def test_what_was_written_stays_known(run: RunPaths, tmp_path: Path) -> None:
    run.root.mkdir(parents=True)
    paths = [checkpoint(tmp_path, step) for step in (2, 4)]
    known = {path.name: fingerprint(path) for path in paths}
    for path in (*paths, *paths):
        note_written(run, path)
    shutil.rmtree(paths[0])
    assert read_written(run) == known
    assert len(run.written_checkpoints.read_text().splitlines()) == 2


def test_the_newest_of_a_name_counts(run: RunPaths, tmp_path: Path) -> None:
    run.root.mkdir(parents=True)
    note_written(run, checkpoint(tmp_path, 2))
    again = checkpoint(tmp_path, 2, mark="again")
    note_written(run, again)
    assert read_written(run) == {"checkpoint-2": fingerprint(again)}


def test_a_torn_line_costs_itself_alone(run: RunPaths, tmp_path: Path) -> None:
    run.root.mkdir(parents=True)
    note_written(run, checkpoint(tmp_path, 2))
    with run.written_checkpoints.open("a") as file:
        file.write('{"checkpoint": "checkpo')
    note_written(run, checkpoint(tmp_path, 4))
    assert list(read_written(run)) == ["checkpoint-2", "checkpoint-4"]


def test_a_checkpoint_without_a_marker_is_not_noted(run: RunPaths, tmp_path: Path) -> None:
    note_written(run, find_model(tmp_path / "checkpoint-2"))
    assert read_written(run) == {}
