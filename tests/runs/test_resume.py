"""Which checkpoint training goes on from, and which never."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.runs.checkpoints import mark_complete
from harness.runs.resume import (
    ROWS,
    BatchFacts,
    check_resumable,
    is_finished,
    newest_complete,
    newest_model_only,
    only_models,
    set_aside_incomplete,
)

FACTS = BatchFacts(2, 4, 4, 42, 4096, False)


def checkpoint(folder: Path, step: int, *, marked: bool = True, **facts: Any) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    if marked:
        mark_complete(path, **facts)
    return path


def test_nothing_to_resume_is_no_error(tmp_path: Path) -> None:
    assert newest_complete(tmp_path) is None
    assert newest_complete(tmp_path / "not there") is None
    assert set_aside_incomplete(tmp_path / "not there") == []


def test_the_newest_is_by_number_and_must_be_marked(tmp_path: Path) -> None:
    for step in (900, 1000):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 1100, marked=False)
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-1000"


def test_unmarked_checkpoints_are_set_aside_and_others_stay(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10, marked=False)
    (tmp_path / "checkpoint-best").mkdir()
    (moved,) = set_aside_incomplete(tmp_path)
    assert moved.name.startswith("checkpoint-10.incomplete-")
    assert (moved / "model.safetensors").is_file()
    assert sorted(p.name for p in tmp_path.iterdir() if "incomplete" not in p.name) == [
        "checkpoint-5",
        "checkpoint-best",
    ]
    assert set_aside_incomplete(tmp_path) == []


def test_the_same_batch_may_resume(tmp_path: Path) -> None:
    check_resumable(checkpoint(tmp_path, 5, **asdict(FACTS)), FACTS)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"world_size": 8}, "world_size was 2, is now 8"),
        ({"seed": 1}, "seed was 42, is now 1"),
        ({"parallelism": "fsdp2"}, "parallelism was ddp, is now fsdp2"),
    ],
)
def test_a_changed_batch_is_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    path = checkpoint(tmp_path, 5, **asdict(FACTS))
    with pytest.raises(UserError, match=text):
        check_resumable(path, replace(FACTS, **change))


def test_an_adapter_is_not_resumed_as_a_whole_model_nor_the_other_way(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, 5, **asdict(FACTS))
    with pytest.raises(UserError, match="holds a whole model, use_peft: true trains an adapter"):
        check_resumable(whole, FACTS, use_peft=True)
    adapter = tmp_path / "checkpoint-6"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/m"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"a")
    mark_complete(adapter, **asdict(FACTS))
    check_resumable(adapter, FACTS, use_peft=True)
    with pytest.raises(UserError, match="holds an adapter, use_peft: false trains a whole model"):
        check_resumable(adapter, FACTS)


def test_finished_means_the_last_step_of_the_same_plan(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 5, max_steps=5, num_train_epochs=1.0)
    assert is_finished(path, max_steps=5, num_train_epochs=1.0)
    assert is_finished(path, max_steps=-1, num_train_epochs=1.0)
    assert not is_finished(path, max_steps=6, num_train_epochs=1.0)
    assert not is_finished(path, max_steps=-1, num_train_epochs=2.0)


def test_an_epoch_run_with_an_unknown_plan_is_not_finished(tmp_path: Path) -> None:
    assert not is_finished(checkpoint(tmp_path, 5), max_steps=-1, num_train_epochs=1.0)


def test_a_checkpoint_of_the_model_alone_is_never_resumed_from(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 2, model_only=True)
    assert newest_complete(tmp_path) is None
    assert newest_model_only(tmp_path) == path
    assert "save_only_model" in only_models(path) and "model_name" in only_models(path)
    whole = checkpoint(tmp_path, 3)
    assert newest_complete(tmp_path) == whole
    assert newest_model_only(tmp_path) is None


def test_other_rows_than_were_trained_on_are_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 2, **{**asdict(FACTS), ROWS: "aaa"})
    check_resumable(path, FACTS, rows="aaa")
    with pytest.raises(UserError, match="the rows of dataset_name are others"):
        check_resumable(path, FACTS, rows="bbb")
    check_resumable(checkpoint(tmp_path, 3, **asdict(FACTS)), FACTS, rows="bbb")  # an older marker
