"""The shape of a model out of its config.json and the headers of its weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.runs.models.shape import count_parameters, read_shape
from tests.preflight.support import model, write_weights

CONFIG = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100,
    "num_attention_heads": 4,
}  # fmt: skip


def folder_of(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_weights(folder / "model.safetensors", {"w": (10, 10)})
    return folder


def test_a_shape_is_read_from_headers(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    shape = read_shape(folder)
    assert shape is not None
    assert (shape.parameters, shape.query_size, shape.key_value_size) == (128_672, 128, 64)
    write_weights(folder / "extra.safetensors", {"lm_head.weight": (448, 64), "b": (5,)})
    assert (read_shape(folder) or shape).parameters == 128_677  # tied: counted once
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    assert (read_shape(folder) or shape).parameters == 128_677 + 448 * 64
    (folder / "extra.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ResultError, match=r"extra\.safetensors"):
        read_shape(folder)
    (folder / "extra.safetensors").unlink()
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    assert read_shape(folder) is None


def test_what_the_configuration_leaves_out_is_what_transformers_takes(tmp_path: Path) -> None:
    shape = read_shape(folder_of(tmp_path, CONFIG))
    assert shape is not None
    assert (shape.query_size, shape.key_value_size) == (64, 64)  # head_dim 16, as many for keys
    assert (shape.embeddings, shape.dtype) == (100 * 64, "float32")
    shape = read_shape(folder_of(tmp_path, {**CONFIG, "tie_word_embeddings": False}))
    assert shape is not None and shape.embeddings == 2 * 100 * 64


@pytest.mark.parametrize("word", ["dtype", "torch_dtype"])
def test_the_dtype_goes_by_its_new_and_its_old_name(tmp_path: Path, word: str) -> None:
    shape = read_shape(folder_of(tmp_path, {**CONFIG, word: "bfloat16"}))
    assert shape is not None and shape.dtype == "bfloat16"


def test_the_part_about_text_counts(tmp_path: Path) -> None:
    shape = read_shape(folder_of(tmp_path, {"text_config": {**CONFIG, "num_key_value_heads": 1}}))
    assert shape is not None
    assert (shape.hidden_size, shape.key_value_size) == (64, 16)


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": None}, {"num_attention_heads": 0}, {"vocab_size": "many"}, {"text_config": 1}],
)
def test_fields_that_are_no_numbers_have_no_shape(tmp_path: Path, change: dict[str, Any]) -> None:
    config = {"text_config": {**CONFIG, **change}} if "text_config" not in change else change
    assert read_shape(folder_of(tmp_path, config)) is None


def test_without_weights_the_parameters_are_unknown_and_not_zero(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CONFIG)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert count_parameters(folder) is None
    assert read_shape(folder) is None
    (folder / "config.json").write_text("[]")
    assert read_shape(folder) is None
    (folder / "config.json").unlink()
    with pytest.raises(ResultError, match=r"config\.json: no such file"):
        read_shape(folder)


def test_a_number_alone_is_one_parameter_and_a_hole_none(tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", {"scale": (), "none": (0, 5), "w": (2, 3)})
    assert count_parameters(tmp_path) == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05\x00",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"w": {}}',
        struct.pack("<Q", 2) + b"\xff\xff",
    ],
    ids=["empty", "cut", "huge", "list", "no shape", "no text"],
)
def test_a_header_that_cannot_be_read_is_an_error_with_its_file(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a b.safetensors").write_bytes(content)
    with pytest.raises(ResultError, match=r"a b\.safetensors: not a whole safetensors file: "):
        count_parameters(tmp_path)


@pytest.mark.parametrize(
    ("outer", "inner", "tied"),
    [
        ({}, {}, True),
        ({}, {"tie_word_embeddings": False}, False),
        ({"tie_word_embeddings": False}, {}, False),
        ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": True}, {"tie_word_embeddings": False}, False),
    ],
)
def test_the_part_about_text_says_whether_the_head_is_tied(
    tmp_path: Path, outer: dict[str, Any], inner: dict[str, Any], tied: bool
) -> None:
    plain = {k: v for k, v in CONFIG.items() if k != "tie_word_embeddings"}
    shape = read_shape(folder_of(tmp_path, {**outer, "text_config": {**plain, **inner}}))
    assert shape is not None
    assert shape.embeddings == CONFIG["vocab_size"] * CONFIG["hidden_size"] * (1 if tied else 2)


@pytest.mark.parametrize(
    ("inner", "outer", "tied"),
    [({}, {}, True), ({"tie_word_embeddings": False}, {}, False),
     ({}, {"tie_word_embeddings": False}, False),
     ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}, False)],
)  # fmt: skip
def test_the_inner_part_says_first_whether_its_head_is_tied(
    tmp_path: Path, inner: dict[str, Any], outer: dict[str, Any], tied: bool
) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
    shape = read_shape(folder_of(tmp_path, {"text_config": config | inner, **outer}))
    assert shape is not None
    assert shape.embeddings == shape.vocab_size * shape.hidden_size * (1 if tied else 2)
