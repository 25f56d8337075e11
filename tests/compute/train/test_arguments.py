"""`sft.py` by hand: TRL's own names for LoRA, and the learning rate that goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

from trl import ModelConfig

from harness.compute.train.arguments import adapter, parse
from harness.config.training.lora import LORA_DEFAULTS
from harness.errors import UserError
from tests.support import ROOT

STANDARD = ["--model_name", "m", "--dataset_name", "d", "--output_dir", "o", "--use_cpu"]


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ([], 2e-5),
        (["--use_peft"], 1e-4),
        (["--use_peft", "--learning_rate", "2e-5"], 2e-5),
        (["--learning_rate", "3e-6"], 3e-6),
    ],
)
def test_the_learning_rate_follows_lora_unless_given(given: list[str], rate: float) -> None:
    _, config = parse([*STANDARD, *given])
    assert config.learning_rate == rate


def test_lora_becomes_pefts_own_configuration() -> None:
    script, _ = parse([*STANDARD, "--use_peft", "--lora_r", "8", "--use_rslora",
                       "--lora_target_modules", "q_proj", "v_proj"])  # fmt: skip
    lora = adapter(script)
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (8, 32, 0.05)
    assert lora.target_modules == {"q_proj", "v_proj"}
    assert (lora.use_rslora, lora.use_dora, lora.task_type) == (True, False, "CAUSAL_LM")
    script, _ = parse([*STANDARD, "--use_peft"])
    assert adapter(script).target_modules == "all-linear"


def test_without_use_peft_there_is_no_adapter_and_its_fields_are_refused() -> None:
    assert adapter(parse(STANDARD)[0]) is None
    with pytest.raises(UserError, match="lora_r, use_dora without use_peft"):
        parse([*STANDARD, "--lora_r", "16", "--use_dora"])


def test_the_defaults_are_trls_own() -> None:
    ours: dict[str, Any] = {**LORA_DEFAULTS, "lora_target_modules": None}  # TRL leaves it to PEFT
    assert {name: getattr(ModelConfig(), name) for name in ours} == ours


def test_a_template_that_ships_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "templates" / "chat" / "qwen3.jinja"
    for word in ("templates/chat/qwen3.jinja", "qwen3.jinja"):
        _, config = parse([*STANDARD, "--chat_template_path", word])
        assert config.chat_template_path == str(shipped)
