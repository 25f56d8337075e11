"""Packing changes the speed, not the loss: on real chat rows, by TRL's own packing and collator."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

import torch
from datasets import Dataset

from harness.compute.train.arguments import parse
from harness.compute.train.trainer import CheckpointingTrainer
from tests.support import ROOT, shared_data
from tests.tiny_model import make_tiny_model

TEMPLATES = ROOT / "templates" / "chat"
DATA = shared_data()
SMOLLM2 = Path(os.environ.get("HARNESS_SMOLLM2", "absent"))
ROWS, MAX_LENGTH = 16, 1024
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(DATA is None, reason="the shared benchmark data is not here"),
]


def chat_rows(count: int) -> Dataset:
    """Problems of GSM8K and their worked answers."""
    assert DATA is not None
    with (DATA / "gsm8k_train.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return Dataset.from_list(
        [
            {
                "messages": [
                    {"role": "user", "content": row["question"]},
                    {"role": "assistant", "content": row["answer"]},
                ]
            }
            for row in rows
        ]
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("packing") / "model")


def trainer(
    model: Path, folder: Path, template: str, rows: int, *options: str
) -> CheckpointingTrainer:
    _, config = parse(
        ["--model_name", str(model), "--dataset_name", "unused", "--output_dir", str(folder),
         "--chat_template_path", str(TEMPLATES / template), "--assistant_only_loss", "True",
         "--max_length", str(MAX_LENGTH), "--use_cpu", "--bf16", "False", "--report_to", "none",
         "--max_steps", "1", "--logging_steps", "1", "--save_strategy", "no", "--disable_tqdm",
         "True", "--gradient_checkpointing", "False", *options]
    )  # fmt: skip
    return CheckpointingTrainer(model=str(model), args=config, train_dataset=chat_rows(rows))


def loss(model: Any, batches: Sequence[dict[str, Any]]) -> tuple[float, int]:
    """Mean negative log-likelihood of the trained tokens, and how many they are; in float64."""
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for batch in batches:
            labels = batch["labels"][:, 1:]
            inputs = {k: v for k, v in batch.items() if k != "labels"}
            logits = model(**inputs, use_cache=False).logits[:, :-1].double()
            total += torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
            ).item()
            count += int((labels != -100).sum())
    return total / count, count


def packed_and_unpacked(
    model: Path, folder: Path, template: str, rows: int, attention: str
) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """A model in evaluation mode, the packed batch, and one batch per row."""
    options = ("--model_init_kwargs", json.dumps({"attn_implementation": attention,
                                                  "dtype": "float32"}))  # fmt: skip
    packed = trainer(model, folder, template, rows, "--packing", "True", *options)
    alone = trainer(model, folder, template, rows, *options)
    together = [packed.data_collator([row]) for row in packed.train_dataset]
    assert len(together) < len(alone.train_dataset) == rows
    assert all("attention_mask" not in batch for batch in together)
    return packed.model, together, [alone.data_collator([row]) for row in alone.train_dataset]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_packed_loss_is_the_unpacked_one_and_contaminated_without_positions(
    tiny: Path, tmp_path: Path, attention: str
) -> None:
    model, packed, alone = packed_and_unpacked(
        tiny, tmp_path, "qwen3_nonthinking.jinja", ROWS, attention
    )
    together, tokens = loss(model, packed)
    apart, tokens_alone = loss(model, alone)
    assert tokens == tokens_alone > 1000
    assert together == pytest.approx(apart, abs=1e-5)
    mixed, _ = loss(model, [{k: v for k, v in b.items() if k != "position_ids"} for b in packed])
    assert abs(mixed - apart) > 1e-3  # rows see their neighbours


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="$HARNESS_SMOLLM2 names no model")
@pytest.mark.slow
def test_so_it_is_for_a_real_model(tmp_path: Path) -> None:
    model, packed, alone = packed_and_unpacked(SMOLLM2, tmp_path, "chatml.jinja", 6, "sdpa")
    together, tokens = loss(model, packed)
    apart, tokens_alone = loss(model, alone)
    assert tokens == tokens_alone > 500
    assert together == pytest.approx(apart, abs=1e-5)
    mixed, _ = loss(model, [{k: v for k, v in b.items() if k != "position_ids"} for b in packed])
    assert abs(mixed - apart) > 1e-3


def test_a_packed_training_step_has_the_token_weighted_unpacked_loss(
    tiny: Path, tmp_path: Path
) -> None:
    losses, norms = [], []
    for number, (rows, options) in enumerate(
        [(ROWS, ["--packing", "True"]), (ROWS, []), (ROWS, ["--gradient_accumulation_steps", "4"])]
    ):
        accumulate = 4 if number == 2 else 1
        found = trainer(tiny, tmp_path / str(number), "qwen3_nonthinking.jinja", rows,
                        "--per_device_train_batch_size", str(ROWS // accumulate), *options)  # fmt: skip
        found.train()
        first = found.state.log_history[0]
        losses.append(first["loss"])
        norms.append(first["grad_norm"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[2] == pytest.approx(losses[1], abs=1e-5)
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
