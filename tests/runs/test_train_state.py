"""The training state, as others read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import ResultError
from harness.runs.train_state import TrainState, read_state, write_state


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = TrainState("preempted", 7, 10, "slurm-1-0")
    write_state(tmp_path / "train" / "state.json", state)
    assert read_state(tmp_path / "train" / "state.json") == state
    assert json.loads((tmp_path / "train" / "state.json").read_text())["updated"].endswith("Z")


def test_no_state_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["", "[]", '{"state": "done"}', '{"state": "failed", "x": 1}'])
def test_what_is_no_state_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ResultError):
        read_state(tmp_path / "state.json")
