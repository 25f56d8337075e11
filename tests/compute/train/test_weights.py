"""A checkpoint counts only with all of the model's weights in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra `train`")

import torch
from safetensors.torch import load_file, save_file

from harness.compute.train.weights import check_whole, trained_elements
from harness.errors import TrainingError
from tests.tiny_model import make_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, int]:
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(tmp_path / "checkpoint-1")
    return folder, trained_elements(AutoModelForCausalLM.from_pretrained(folder))


def test_a_whole_model_passes_with_its_shared_embedding_counted_once(
    model: tuple[Path, int],
) -> None:
    folder, expected = model
    assert expected == sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    check_whole(folder, expected)


def test_one_missing_tensor_is_seen(model: tuple[Path, int]) -> None:
    folder, expected = model
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")  # the smallest there is
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(TrainingError, match="only shards were saved"):
        check_whole(folder, expected)


def test_empty_tensors_as_zero3_would_write_them_are_seen(model: tuple[Path, int]) -> None:
    folder, expected = model
    tensors = {n: torch.empty(0) for n in load_file(folder / "model.safetensors")}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(TrainingError, match=f"holds 0 of the model's {expected:,}"):
        check_whole(folder, expected)


def test_weights_cut_off_in_the_middle_are_seen(model: tuple[Path, int]) -> None:
    folder, expected = model
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1])
    with pytest.raises(TrainingError, match="cannot be read"):
        check_whole(folder, expected)


def test_a_missing_file_of_several_is_seen(model: tuple[Path, int]) -> None:
    folder, expected = model
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    half = {names[0]: "model-1.safetensors", **dict.fromkeys(names[1:], "model-2.safetensors")}
    for file in ("model-1.safetensors", "model-2.safetensors"):
        save_file({n: tensors[n] for n in names if half[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": half}))
    check_whole(folder, expected)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"model-1\.safetensors"):
        check_whole(folder, expected)
