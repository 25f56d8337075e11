"""Arguments of `sft.py`: TRL's own, and those of the harness."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, TrlParser

from harness.config.training.lora import (
    ALL_LINEAR,
    LEARNING_RATE,
    LORA_DEFAULTS,
    LORA_LEARNING_RATE,
    target_names,
)
from harness.config.training.sft_fields import RESERVED
from harness.config.training.sources import DataSource, check_list, from_text
from harness.config.training.train import WRAPPED
from harness.errors import UserError
from harness.package import find_template, needs


@dataclass
class ScriptArguments:
    """What SFTConfig does not know."""

    model_name: str = field(metadata={"help": "Folder of a model, or its id on the Hub."})
    dataset_name: str = field(default="", metadata={"help": "Folder written by save_to_disk."})
    dataset_sources: str | None = field(
        default=None,
        metadata={
            "help": "In place of dataset_name: a JSON list of {path, weight, max_samples, split}."
        },
    )
    dataset_split: str = field(
        default="train", metadata={"help": "Split, where the folder holds a DatasetDict."}
    )
    eval_split: str | None = field(
        default=None, metadata={"help": "Split of the same DatasetDict whose loss is measured."}
    )
    max_samples: int = field(
        default=1_000_000, metadata={"help": "Rows at most, chosen by a seeded shuffle."}
    )
    model_dtype: str = field(
        default="float32", metadata={"help": "Precision of the weights: float32, bfloat16, auto."}
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={
            "help": "Unset: the fastest FlashAttention that is installed when packing on CUDA, sdpa "
            "when packing elsewhere, else the model's own default."
        },
    )
    run_dir: str | None = field(
        default=None,
        metadata={
            "help": "Run folder for train/state.json and train/log.jsonl; unset: output_dir."
        },
    )
    expected_world_size: int | None = field(
        default=None, metadata={"help": "Fail unless so many processes train together."}
    )
    parallelism: str | None = field(
        default=None,
        metadata={
            "help": "Fail unless the launcher's configuration says ddp, fsdp2, zero2 or zero3."
        },
    )
    use_peft: bool = field(
        default=False, metadata={"help": "Train a LoRA adapter; learning_rate is then 1e-4."}
    )
    lora_r: int | None = field(default=None, metadata={"help": "Rank (16)."})
    lora_alpha: int | None = field(default=None, metadata={"help": "Scale is alpha / r (32)."})
    lora_dropout: float | None = field(default=None, metadata={"help": "Dropout (0.05)."})
    lora_target_modules: list[str] | None = field(
        default=None, metadata={"help": "Names of linear layers (all-linear)."}
    )
    lora_modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules that are trained whole (none)."}
    )
    lora_target_parameters: list[str] | None = field(
        default=None, metadata={"help": "Parameters outside linear layers (none)."}
    )
    use_rslora: bool = field(default=False, metadata={"help": "Scale by alpha / sqrt(r)."})
    use_dora: bool = field(default=False, metadata={"help": "Weight-decomposed LoRA."})

    def __post_init__(self) -> None:
        given = [name for name in LORA_DEFAULTS if getattr(self, name) not in (None, False)]
        if given and not self.use_peft:
            raise UserError(f"{', '.join(given)} without use_peft: add --use_peft")
        if bool(self.dataset_name) == (self.dataset_sources is not None):
            raise UserError("dataset_name: give a folder, or a list as dataset_sources, not both")
        if self.dataset_sources is not None:
            _ = self.sources

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The sets that are trained, each with its split. Raises UserError for a wrong list."""
        try:
            if self.dataset_sources is None:
                found: tuple[DataSource, ...] = (DataSource(path=self.dataset_name),)
            else:
                found = from_text(self.dataset_sources)
                check_list(found, self.dataset_split)
        except ValueError as problem:
            raise UserError(f"dataset_sources: {problem}") from None
        return tuple(s.model_copy(update={"split": s.split or self.dataset_split}) for s in found)


@dataclass
class TrainingConfig(SFTConfig):  # type: ignore[misc]
    """SFTConfig with one name for activation checkpointing, and no silent training on CPU."""

    learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate (2e-5; with --use_peft 1e-4)."}
    )

    def __post_init__(self) -> None:
        self.learning_rate_given = self.learning_rate is not None
        self.as_given = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.learning_rate is None:
            self.learning_rate = LEARNING_RATE
        # transformers 5.23 renamed the field; setting the old one alone warns on every rank.
        new_name = "activation_checkpointing"
        if new_name in {f.name for f in fields(self)} and getattr(self, new_name) is None:
            setattr(self, new_name, self.gradient_checkpointing)
        if not self.use_cpu and not torch.accelerator.is_available():
            raise UserError(
                "use_cpu: no GPU is visible to PyTorch here. Ask for GPUs (gpus_per_node, and a "
                "CUDA build of PyTorch), or set use_cpu: true to train on CPU"
            )
        if "LOCAL_RANK" not in os.environ:
            # Without a launcher there is no group, and accelerate 1.15 would ask for one.
            self.ddp_backend = None
        super().__post_init__()
        if self.dataset_kwargs:
            raise UserError(f"dataset_kwargs: cannot be set: {RESERVED['dataset_kwargs']}")
        if self.packing and self.packing_strategy == "wrapped" and self.assistant_only_loss:
            raise UserError(WRAPPED)


def parse(argv: list[str] | None = None) -> tuple[ScriptArguments, TrainingConfig]:
    """Arguments from `--config FILE` (YAML or JSON) and the command line, which wins.

    Raises UserError for a value that no run could use.
    """
    parser = TrlParser([ScriptArguments, TrainingConfig], prog="sft.py")
    for action in parser._actions:
        # `--bf16` alone means true, also for the fields that have no default of their own.
        if getattr(action.type, "__name__", "") == "string_to_bool" and action.nargs is None:
            action.nargs, action.const = "?", True
    script, config = parser.parse_args_and_config(argv)
    if config.chat_template_path:
        config.chat_template_path = str(find_template(Path(config.chat_template_path)))
    if script.use_peft and not config.learning_rate_given:
        config.learning_rate = LORA_LEARNING_RATE
    if script.model_dtype not in ("float32", "bfloat16", "float16", "auto"):
        raise UserError(
            f"model_dtype: float32, bfloat16, float16 or auto, not {script.model_dtype}"
        )
    return script, config


def adapter(script: ScriptArguments) -> Any:
    """PEFT's LoraConfig for these arguments, by TRL's own rules; None without `use_peft`.

    Raises UserError when PEFT is not installed.
    """
    if not script.use_peft:
        return None
    if find_spec("peft") is None:
        raise UserError(f"use_peft: PEFT is not installed here: {needs('train')}")
    from trl import ModelConfig, get_peft_config

    values = {name: getattr(script, name) for name in LORA_DEFAULTS}
    given = {name: value for name, value in values.items() if value is not None}
    config = get_peft_config(ModelConfig(use_peft=True, **{**LORA_DEFAULTS, **given}))
    targets = target_names(given.get("lora_target_modules", ALL_LINEAR))
    # TRL makes the text in it of a list of one, which PEFT takes for a pattern.
    config.target_modules = targets if isinstance(targets, str) else set(targets)
    return config
