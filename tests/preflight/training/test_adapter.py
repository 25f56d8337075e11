"""Names of layers that no layer has are told before training drops them without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.training.train import TrainSpec
from harness.preflight.training.adapter import check_adapter
from tests.preflight.support import write_weights

LAYER = {"self_attn.q_proj": (8, 8), "self_attn.v_proj": (4, 8), "mlp.down_proj": (8, 16)}


def weights(folder: Path, extra: str = "") -> Path:
    shapes = {
        f"model.layers.{i}.{name}.weight": shape for i in (0, 1) for name, shape in LAYER.items()
    }
    more = {"model.embed_tokens.weight": (32, 8), "model.norm.weight": (8,)}
    write_weights(folder / "model.safetensors", shapes | more | ({extra: (8, 8)} if extra else {}))
    return folder


def told(folder: Path, **lora: Any) -> list[tuple[str, str, str]]:
    base = {"model_name": "m", "dataset_name": "d", "use_peft": True}
    train = TrainSpec.model_validate(base | lora)
    return [(f.level, f.place.rpartition("_")[2], f.message) for f in check_adapter(train, folder)]


@pytest.mark.parametrize(
    "right",
    [
        None, "all-linear", "ALL-linear", "q_proj", "q_proj,v_proj", "q_proj v_proj", ["q_proj"],
        ["q_proj, v_proj", "down_proj"], ["self_attn.q_proj"], r".*\.(q|v)_proj",
        r"layers\.0\..*", ["model.layers.0.self_attn.q_proj"],
    ],
)  # fmt: skip
def test_names_that_are_there_are_taken_however_they_are_written(
    tmp_path: Path, right: Any
) -> None:
    assert told(weights(tmp_path), lora_target_modules=right) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["q_proj", "v_projj"], "named 'v_projj'; did you mean 'v_proj'"),
        ("q_proj,v_projj", "named 'v_projj'"),
        (["k_proj"], "named 'k_proj'"),
        (["attn.q_proj"], "named 'attn.q_proj'"),
        ("(q_proj", "no regular expression"),
        ("q_proj|v_proj", "matches none"),
        (["q_proj", "lm_head"], "lm_head cannot have an adapter"),
    ],
)
def test_a_name_that_no_layer_has_is_an_error(tmp_path: Path, wrong: Any, says: str) -> None:
    ((level, place, text),) = told(weights(tmp_path), lora_target_modules=wrong)
    assert (level, place) == ("error", "modules")
    assert says in text


def test_modules_to_save_are_parts_of_the_model(tmp_path: Path) -> None:
    folder = weights(tmp_path)
    assert told(folder, lora_modules_to_save=["lm_head", "embed_tokens", "norm", "mlp"]) == []
    ((level, place, text),) = told(folder, lora_modules_to_save=["embed_token"])
    assert (level, place) == ("error", "save")
    assert "'embed_token'; did you mean 'embed_tokens'" in text


def test_what_cannot_be_known_is_no_error(tmp_path: Path) -> None:
    assert told(tmp_path, lora_target_modules=["nothing"]) == []
    experts = weights(tmp_path, "model.layers.0.mlp.experts.3.up_proj.weight")
    assert [level for level, _, _ in told(experts, lora_target_modules=["gate_up"])] == ["warning"]
