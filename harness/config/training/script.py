"""From a spec to the arguments of the training script, `sft.py`. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.config.training.lora import LORA_DEFAULTS
from harness.config.training.sources import to_text
from harness.config.training.train import TrainSpec


def script_arguments(
    train: TrainSpec, run_dir: Path, output_dir: Path, template: Path | None
) -> dict[str, Any]:
    """Arguments of `sft.py`, as its `--config` file holds them."""
    arguments: dict[str, Any] = {
        "model_name": train.model_name,
        **_data(train),
        "dataset_split": train.dataset_split,
        "max_samples": train.max_samples,
        "output_dir": str(output_dir),
        "max_length": train.max_length,
        "assistant_only_loss": train.assistant_only_loss,
        "packing": train.packing,
        "bf16": train.bf16,
        "model_dtype": train.model_dtype,
        "gradient_checkpointing": train.gradient_checkpointing,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": train.lr_scheduler_type,
        "warmup_steps": train.warmup_steps,
        "max_steps": train.max_steps or -1,
        "num_train_epochs": train.num_train_epochs,
        "save_strategy": "steps",
        "save_steps": train.save_steps,
        "per_device_train_batch_size": train.per_device_train_batch_size,
        "gradient_accumulation_steps": train.gradient_accumulation_steps,
        "logging_steps": train.logging_steps,
        "seed": train.seed,
        "report_to": list(train.report_to) or "none",
        "use_cpu": train.use_cpu,
        "parallelism": train.parallelism,
        "run_dir": str(run_dir),
        "expected_world_size": train.world_size,
    }
    if train.use_peft:
        lora = {name: getattr(train, name) for name in LORA_DEFAULTS}
        arguments |= {"use_peft": True, **{k: v for k, v in lora.items() if v is not None}}
    if train.attn_implementation is not None:
        arguments["attn_implementation"] = train.attn_implementation
    if train.eval_split is not None:
        arguments |= {
            "eval_split": train.eval_split,
            "eval_strategy": "steps",
            "eval_steps": train.save_steps,
            # transformers' own 8 may need more memory than training.
            "per_device_eval_batch_size": train.per_device_train_batch_size,
        }
    if template is not None:
        arguments["chat_template_path"] = str(template)
    if train.eos_token is not None:
        arguments["eos_token"] = train.eos_token
    arguments |= train.sft
    if train.report_to and "run_name" not in train.sft:
        arguments["run_name"] = f"{run_dir.parent.name}-{run_dir.name}"
    return arguments


def _data(train: TrainSpec) -> dict[str, str]:
    """A folder by TRL's name for it, a list by one of ours."""
    if isinstance(train.dataset_name, str):
        return {"dataset_name": train.dataset_name}
    return {"dataset_sources": to_text(train.dataset_name)}
