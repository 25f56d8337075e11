"""A checkpoint that knows one answer by heart, made by the real trainer on the tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support import ROOT
from tests.tiny_model import ENDOFTEXT, IM_END, make_tiny_model

TEMPLATE = ROOT / "templates" / "chat" / "chatml.jinja"
QUESTION, ANSWER = "What is the sum of two and three?", "The answer is five."
STEPS = 60


def make_overfitted_checkpoint(folder: Path) -> Path:
    """Train until the answer and its end token are certain; returns the checkpoint's folder.

    The base model ends text with `<|endoftext|>`, the template a turn with `<|im_end|>`, and
    `eos_token` is not set: the case in which a server would not stop.
    """
    from datasets import Dataset

    from harness.compute.train.arguments import parse
    from harness.compute.train.trainer import CheckpointingTrainer

    make_tiny_model(folder / "model")
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    _, config = parse(
        ["--model_name", "unused", "--dataset_name", "unused", "--output_dir", str(folder / "out"),
         "--chat_template_path", str(TEMPLATE), "--assistant_only_loss", "True", "--use_cpu",
         "--bf16", "False", "--report_to", "none", "--max_steps", str(STEPS), "--save_steps",
         str(STEPS), "--learning_rate", "1e-2", "--lr_scheduler_type", "constant", "--gradient_checkpointing", "False",
         "--per_device_train_batch_size", "1", "--disable_tqdm", "True", "--logging_steps", "10"]
    )  # fmt: skip
    rows = Dataset.from_list([{"messages": messages}] * STEPS)
    trainer = CheckpointingTrainer(model=str(folder / "model"), args=config, train_dataset=rows)
    trainer.train()
    assert trainer.state.log_history[-2]["loss"] < 0.02, trainer.state.log_history
    return folder / "out" / f"checkpoint-{STEPS}"


def without_its_end_token(checkpoint: Path, folder: Path) -> Path:
    """A copy whose generation config knows only the base model's end of text."""
    shutil.copytree(checkpoint, folder)
    file = folder / "generation_config.json"
    config = json.loads(file.read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert config["eos_token_id"] == [ids[IM_END], ids[ENDOFTEXT]]
    file.write_text(json.dumps({**config, "eos_token_id": ids[ENDOFTEXT]}))
    return folder
