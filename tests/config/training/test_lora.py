"""LoRA's fields and the parallelism of `train`: defaults, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.config.load import load_spec
from harness.config.training.lora import LORA_DEFAULTS
from tests.config.test_load import GOOD, message, spec_file

NO_RATE = GOOD.replace("  learning_rate: 2e-5\n", "")


def test_without_lora_the_learning_rate_is_2e_5_and_nothing_of_lora_is_set(tmp_path: Path) -> None:
    train = load_spec(spec_file(tmp_path, NO_RATE)).train
    assert train.learning_rate == 2e-5
    assert {getattr(train, name) for name in LORA_DEFAULTS} == {None}


def test_with_lora_it_is_1e_4_unless_set(tmp_path: Path) -> None:
    file = spec_file(tmp_path, NO_RATE)
    assert load_spec(file, ["train.use_peft=true"]).train.learning_rate == 1e-4
    both = ["train.use_peft=true", "train.learning_rate=2e-5"]
    assert load_spec(file, both).train.learning_rate == 2e-5


def test_the_resolved_spec_shows_what_lora_trains_with_and_reads_back(tmp_path: Path) -> None:
    given = ["train.use_peft=true", "train.lora_target_modules=[q_proj, v_proj]"]
    spec = load_spec(spec_file(tmp_path, NO_RATE), given)
    assert (spec.train.lora_r, spec.train.lora_alpha, spec.train.lora_dropout) == (16, 32, 0.05)
    assert spec.train.lora_target_modules == ("q_proj", "v_proj")
    again = spec_file(tmp_path, yaml.safe_dump(spec.model_dump(mode="json")))
    assert load_spec(again) == spec


@pytest.mark.parametrize(
    "setting", ["lora_r=16", "lora_target_modules=all-linear", "use_dora=true"]
)
def test_a_lora_field_without_use_peft_never_trains_the_whole_model_silently(
    tmp_path: Path, setting: str
) -> None:
    text = message(tmp_path, GOOD, f"train.{setting}")
    assert f"{setting.partition('=')[0]} without use_peft: set use_peft: true" in text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["parallelism=fsdp"], "'ddp', 'fsdp2', 'zero2' or 'zero3'"),
        (["parallelism=fsdp2", "gpus_per_node=1"], "fsdp2 needs two processes"),
        (["parallelism=zero3", "use_cpu=true"], "needs GPUs"),
        (["fsdp=full_shard"], "set parallelism: fsdp2"),
        (["deepspeed=x.json"], "set parallelism: zero2 or zero3"),
        (["use_peft=true", "lora_dropout=1"], "lora_dropout"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, settings: list[str], reason: str
) -> None:
    assert reason in message(tmp_path, GOOD, *(f"train.{s}" for s in settings))
