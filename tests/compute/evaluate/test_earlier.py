"""Answers of other inputs are out of the way; good ones are graded again."""

from __future__ import annotations

from pathlib import Path

from harness.compute.evaluate.earlier import reopen, set_aside
from harness.runs.paths import CellPaths


def test_what_is_set_aside_is_kept_and_judgements_stay(tmp_path: Path) -> None:
    cell = CellPaths(tmp_path)
    for path in (cell.metrics, cell.task, cell.output(1), cell.partial(), cell.judgements):
        path.write_text(path.name)
    cell.program.mkdir()  # `ns` would go on from what lies here
    (cell.program / "output.jsonl").write_text("of other inputs")
    set_aside(cell)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert folder.name.startswith("stale-")
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == {
        name: name
        for name in ("metrics.json", "task.json", "output-rs1.jsonl", "partial-rs0.jsonl")
    }
    assert (folder / "program" / "output.jsonl").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["judgements.jsonl"]


def test_graded_rows_are_answers_again_in_every_repeat(tmp_path: Path) -> None:
    cell = CellPaths(tmp_path)
    cell.metrics.write_text("{}")
    for repeat in range(2):
        cell.output(repeat).write_text(f"graded {repeat}")
    cell.partial(1).write_text("asked again since")
    reopen(cell, 2)
    assert not cell.metrics.exists()
    assert [cell.partial(k).read_text() for k in range(2)] == ["graded 0", "asked again since"]
    assert cell.output(1).is_file()
    reopen(cell, 2)  # nothing is left to do
    assert [cell.partial(k).read_text() for k in range(2)] == ["graded 0", "asked again since"]
