"""A token to pad with is known before the trainer asks for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.training.train import TrainSpec
from harness.preflight.training.padding import check_padding
from tests.preflight.support import model

pytestmark = pytest.mark.long  # makes a tokenizer


def told(folder: Path, **train: Any) -> list[str]:
    asked = TrainSpec.model_validate({"model_name": "m", "dataset_name": "d", **train})
    return [f.message for f in check_padding(asked, folder)]


def without(folder: Path, *names: str) -> Path:
    for file in (folder / "tokenizer_config.json", folder / "special_tokens_map.json"):
        if file.is_file():
            kept = {k: v for k, v in json.loads(file.read_text()).items() if k not in names}
            file.write_text(json.dumps(kept))
    return folder


def test_a_pad_token_must_be_a_token(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    assert told(folder) == told(folder, pad_token="<|im_end|>") == []
    (text,) = told(folder, pad_token="<|im_ends|>")
    assert "not in the tokenizer's vocabulary; did you mean '<|im_end|>'" in text


def test_without_one_the_end_token_pads_and_without_both_nothing_does(tmp_path: Path) -> None:
    folder = without(model(tmp_path / "m"), "pad_token")
    assert told(folder) == []
    without(folder, "eos_token")
    assert "neither a padding token nor an end token" in told(folder)[0]
    assert told(folder, eos_token="<|im_end|>") == told(folder, pad_token="<|im_end|>") == []


def test_a_tokenizer_of_another_form_is_not_looked_into(tmp_path: Path) -> None:
    assert told(tmp_path, pad_token="x") == []
    folder = model(tmp_path / "m")
    (folder / "tokenizer.json").write_text("{torn")
    assert told(folder, pad_token="x") == []
