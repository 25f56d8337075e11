"""End tokens and arguments, without a training run."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import ROOT

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.arguments import parse
from harness.compute.train.attention import attention
from harness.compute.train.sft import require_trainable_template
from harness.compute.train.trainer import check_stops, stop_at_template_end
from harness.errors import TrainingError, UserError
from tests.tiny_model import make_tiny_tokenizer

TEMPLATES = ROOT / "templates" / "chat"
IM_END, ENDOFTEXT = 2, 0
NEEDED = ["--model_name", "m", "--dataset_name", "d", "--use_cpu"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(make_tiny_tokenizer(tmp_path))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (ENDOFTEXT, [IM_END, ENDOFTEXT]),
        (None, [IM_END]),
        ([ENDOFTEXT, IM_END], [ENDOFTEXT, IM_END]),
        (IM_END, IM_END),
    ],
)
def test_the_end_token_joins_those_known(tokenizer: Any, known: Any, expected: Any) -> None:
    tokenizer.chat_template = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=known))
    stop_at_template_end(model, tokenizer)
    assert model.generation_config.eos_token_id == expected


def test_a_checkpoint_that_would_not_stop_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 0}')
    check_stops(tmp_path, ENDOFTEXT)
    with pytest.raises(TrainingError, match="would never stop"):
        check_stops(tmp_path, IM_END)


def test_config_file_and_command_line_together(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"learning_rate": 2e-5, "max_steps": 3, "max_samples": 7}))
    script, config = parse([*NEEDED, "--config", str(file), "--max_steps", "9"])
    assert script.max_samples == 7
    assert (config.learning_rate, config.max_steps) == (2e-5, 9)


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_checkpointing_sets_the_installed_name(wanted: bool) -> None:
    _, config = parse([*NEEDED, "--gradient_checkpointing", str(wanted)])
    assert config.gradient_checkpointing is wanted
    since_5_23 = "activation_checkpointing"
    if since_5_23 in {field.name for field in fields(config)}:
        assert getattr(config, since_5_23) is wanted


def test_packing_without_a_choice_takes_sdpa_on_cpu_and_keeps_a_choice() -> None:
    script, config = parse([*NEEDED, "--packing", "--bf16", "False"])
    assert attention(script, config) == "sdpa"
    script.attn_implementation = "eager"
    assert attention(script, config) == "eager"
    script, config = parse(NEEDED)
    assert attention(script, config) is None


def test_wrapped_packing_with_assistant_only_loss_is_refused() -> None:
    with pytest.raises(UserError, match="wrapped"):
        parse([*NEEDED, "--packing", "--packing_strategy", "wrapped", "--assistant_only_loss"])


def test_a_template_without_markers_is_refused_before_training(tmp_path: Path) -> None:
    file = tmp_path / "t.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    argv = [*NEEDED, "--assistant_only_loss", "--chat_template_path", str(file)]
    with pytest.raises(UserError, match="generation"):
        require_trainable_template(*parse(argv))
    with pytest.raises(UserError, match=r"no such \.jinja file"):
        require_trainable_template(*parse([*NEEDED, "--chat_template_path", "Qwen/Qwen3-8B"]))
