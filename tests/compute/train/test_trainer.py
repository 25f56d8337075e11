"""End tokens, log lines and arguments, without a training run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import ROOT

pytest.importorskip("trl", reason="TRL is not installed")

from harness.chats.end_token import template_end_token
from harness.compute.train.arguments import parse
from harness.compute.train.attention import attention
from harness.compute.train.run_log import _drop_steps_after, _finite, log_line
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


@pytest.mark.parametrize("name", ["qwen3.jinja", "qwen3_nonthinking.jinja", "chatml.jinja"])
def test_the_end_token_is_what_the_template_writes(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = (TEMPLATES / name).read_text(encoding="utf-8")
    assert template_end_token(tokenizer) == IM_END


def test_without_a_template_or_a_special_token_there_is_no_end_token(tokenizer: Any) -> None:
    assert template_end_token(tokenizer) is None
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert template_end_token(tokenizer) is None


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
    assert config.activation_checkpointing is wanted


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


def test_log_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    _drop_steps_after(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_loss_that_is_no_number_stays_visible() -> None:
    assert _finite(float("nan")) == "nan"
    assert _finite(1.5) == 1.5


def test_progress_is_one_line() -> None:
    entry = {"step": 20, "loss": 1.2345, "grad_norm": "nan", "learning_rate": 2e-5,
             "steps_per_second": 0.5, "tokens_per_second": 12345.6, "peak_memory_gb": 12.3,
             "remaining_seconds": 3661}  # fmt: skip
    assert log_line(entry, 100) == (
        "step 20/100  loss 1.234  grad nan  lr 2e-05  0.5 steps/s  12,346 tokens/s  12.30 GB"
        "  1:01:01 left"
    )
