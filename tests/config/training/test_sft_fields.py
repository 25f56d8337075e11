"""Any field of SFTConfig may stand in `train`, checked without importing torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from harness.config.load import load_spec
from harness.config.training.script import script_arguments
from harness.config.training.sft_fields import RESERVED, SFT_FIELDS
from harness.errors import UserError
from tests.config.test_load import GOOD, message, spec_file


def test_the_record_is_that_of_the_installed_trl() -> None:
    trl = pytest.importorskip("trl", reason="needs the extra `train`")
    if trl.__version__ != "1.16.0":
        pytest.skip(f"the record is of TRL 1.16.0, installed is {trl.__version__}")
    assert {f.name for f in dataclasses.fields(trl.SFTConfig) if f.init} == SFT_FIELDS
    assert set(RESERVED) <= SFT_FIELDS


def test_a_field_of_sftconfig_reaches_the_training_script(tmp_path: Path) -> None:
    text = GOOD.replace("learning_rate: 2e-5", "weight_decay: 0.1\n  neftune_noise_alpha: 5")
    train = load_spec(spec_file(tmp_path, text)).train
    assert train.sft == {"weight_decay": 0.1, "neftune_noise_alpha": 5}
    arguments = script_arguments(train, tmp_path, tmp_path / "out", None)
    assert arguments["weight_decay"] == 0.1
    assert arguments["neftune_noise_alpha"] == 5


def test_it_can_be_overridden_and_survives_the_resolved_spec(tmp_path: Path) -> None:
    spec = load_spec(spec_file(tmp_path, GOOD), ["train.weight_decay=0.2"])
    assert spec.train.sft == {"weight_decay": 0.2}
    again = spec_file(tmp_path, yaml.safe_dump(spec.model_dump(mode="json")))
    assert load_spec(again) == spec


def test_a_misspelt_field_offers_the_nearest(tmp_path: Path) -> None:
    text = message(tmp_path, GOOD, "train.weight_deca=0.1")
    assert "train.weight_deca: unknown key; did you mean 'weight_decay'" in text
    assert "SFTConfig" in text


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_fields_that_work_against_the_harness_are_refused_with_the_reason(
    tmp_path: Path, name: str
) -> None:
    assert RESERVED[name] in message(tmp_path, GOOD, f"train.{name}=1")


def test_an_unknown_field_in_the_section_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'weight_decay'"):
        load_spec(spec_file(tmp_path, GOOD), ["train.sft={weight_deca: 1}"])
