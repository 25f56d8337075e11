"""Checkpoints against free space: how many lie there at the worst moment, and of what size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.preflight.training import disk
from harness.preflight.training.disk import check_disk, checkpoint_bytes, kept_checkpoints
from harness.runs.models.shape import ModelShape
from tests.preflight.training.test_memory import QWEN3, train


def test_checkpoints_take_what_was_measured() -> None:
    def size(name: str, **fields: Any) -> int:
        return sum(checkpoint_bytes(train(**fields), QWEN3[name]))

    assert size("1.7B") == pytest.approx(20.6e9, rel=0.01)
    assert size("1.7B", save_only_model=True) == 4 * 1_720_574_976
    assert size("8B", use_peft=True) == pytest.approx(12 * 43.6e6, rel=0.01)
    assert kept_checkpoints(train(), 30) == 30
    assert kept_checkpoints(train(keep_checkpoints=2), 30) == 3
    assert kept_checkpoints(train(keep_checkpoints="best:3"), 30) == 5
    assert kept_checkpoints(train(keep_checkpoints=9), 4) == 4


def test_checkpoints_are_held_against_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    asked = []

    def free(path: Path) -> Any:
        asked.append(path)
        return usage._replace(free=300_000_000_000)

    monkeypatch.setattr(disk.shutil, "disk_usage", free)
    steps = list(range(500, 15_001, 500))
    output = tmp_path / "absent" / "checkpoints"
    (finding,) = check_disk(train(), QWEN3["1.7B"], steps, output)
    assert finding.level == "error"
    assert "30 checkpoints of 20.6 GB need 619.4 GB; 300.0 GB are free" in finding.message
    assert "keep_checkpoints: 2" in finding.cure
    assert asked == [tmp_path]
    # Pruned ones keep their weights, unless they are deleted whole.
    (finding,) = check_disk(train(keep_checkpoints=2), QWEN3["1.7B"], steps, output)
    assert finding.level == "warning"
    assert "3 checkpoints of 20.6 GB, 27 pruned to 6.9 GB need 247.8 GB" in finding.message
    gone = train(keep_checkpoints=2, prune="checkpoint")
    (finding,) = check_disk(gone, QWEN3["1.7B"], steps, output)
    assert finding.level == "note"
    (finding,) = check_disk(train(), QWEN3["1.7B"], steps[:13], output)
    assert finding.level == "warning"


def sizes(**fields: Any) -> tuple[int, int]:
    """Bytes of weights and of optimizer state for each parameter of a model of one billion."""
    shape = ModelShape(10**9, 8, 8, 1, 8, 8, 8, 64, "bfloat16")
    weights, moments = checkpoint_bytes(train(**fields), shape)
    return weights // 10**9, moments // 10**9


def test_each_parallelism_saves_its_own_kinds_of_numbers() -> None:
    assert sizes() == sizes(parallelism="fsdp2") == (4, 8)
    assert sizes(model_dtype="bfloat16") == sizes(model_dtype="auto") == (2, 4)
    assert sizes(parallelism="zero2") == sizes(parallelism="zero3") == (2, 12)
    assert sizes(parallelism="zero2", bf16=False) == (4, 12)
    assert sizes(save_only_model=True) == (4, 0)


def test_the_worst_moment_has_one_more_than_is_kept_and_never_more_than_are_planned() -> None:
    assert kept_checkpoints(train(keep_checkpoints=1), 30) == 2
    assert kept_checkpoints(train(keep_checkpoints="best:1"), 30) == 3
    assert kept_checkpoints(train(keep_checkpoints="best:3"), 2) == 2
    assert kept_checkpoints(train(), 0) == 0


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Free bytes that the file system will tell."""
    told = [1e12]
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=int(told[0])))
    return told


def test_what_is_unknown_has_no_finding(tmp_path: Path, free: list[float]) -> None:
    free[0] = 0
    assert check_disk(train(), None, [1, 2], tmp_path) == []
    assert check_disk(train(), QWEN3["1.7B"], [], tmp_path) == []


@pytest.mark.parametrize(("share", "level"), [(0.99, "error"), (1.2, "warning"), (1.3, "note")])
def test_little_room_is_a_warning_and_too_little_an_error(
    tmp_path: Path, free: list[float], share: float, level: str
) -> None:
    free[0] = 2 * 12 * QWEN3["1.7B"].parameters * share
    (found,) = check_disk(train(), QWEN3["1.7B"], [1, 2], tmp_path)
    assert (found.level, found.place) == (level, "train.save_steps")
    assert found.message.startswith("2 checkpoints of 20.6 GB need 41.3 GB; ")
    assert (found.cure == "Raise save_steps, or give another output_dir") == (level != "note")


def test_few_checkpoints_are_not_cured_by_keeping_fewer(tmp_path: Path, free: list[float]) -> None:
    free[0] = 1e9
    (few,) = check_disk(train(), QWEN3["1.7B"], [1, 2, 3], tmp_path)
    (many,) = check_disk(train(), QWEN3["1.7B"], [1, 2, 3, 4], tmp_path)
    assert "keep_checkpoints" not in few.cure
    assert "keep_checkpoints: 2" in many.cure


def test_adapters_are_small_and_their_merged_models_are_counted(
    tmp_path: Path, free: list[float]
) -> None:
    spec = train(use_peft=True, model_dtype="bfloat16", keep_checkpoints=1)
    (found,) = check_disk(spec, QWEN3["8B"], [1, 2, 3], tmp_path)
    assert found.level == "note"
    # 43.6M parameters of adapters, and 8.19B of two bytes for each of the three checkpoints.
    assert found.message.startswith(
        "2 checkpoints of 261.9 MB, 1 pruned to 87.3 MB, merged models of 16.4 GB need 49.8 GB; "
    )


def test_the_folder_that_is_there_is_asked_and_told(tmp_path: Path, free: list[float]) -> None:
    output = tmp_path / "a run" / "20260101-000000-aaaa" / "checkpoints"
    (found,) = check_disk(train(), QWEN3["1.7B"], [1], output)
    assert found.message.endswith(f"1.0 TB are free at {tmp_path}")
    output.mkdir(parents=True)
    (found,) = check_disk(train(), QWEN3["1.7B"], [1], output)
    assert found.message.endswith(f"are free at {output}")
    free[0] = 500
    (found,) = check_disk(train(), QWEN3["1.7B"], [1], output)
    assert "0.5 kB are free" in found.message
