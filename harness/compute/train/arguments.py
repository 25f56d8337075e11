"""Arguments of `sft.py`: TRL's own, and those of the harness."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from trl import SFTConfig, TrlParser

from harness.errors import UserError


@dataclass
class ScriptArguments:
    """What SFTConfig does not know."""

    model_name: str = field(metadata={"help": "Folder of a model, or its id on the Hub."})
    dataset_name: str = field(metadata={"help": "Folder written by save_to_disk."})
    dataset_split: str = field(
        default="train", metadata={"help": "Split, where the folder holds a DatasetDict."}
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
            "help": "Unset: flash_attention_2 when packing on CUDA, sdpa when packing elsewhere, "
            "else the model's own default."
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


@dataclass
class TrainingConfig(SFTConfig):  # type: ignore[misc]
    """SFTConfig with one name for activation checkpointing, and no silent training on CPU."""

    def __post_init__(self) -> None:
        # transformers 5.23 renamed the field; setting the old one alone warns on every rank.
        new_name = "activation_checkpointing"
        if new_name in {f.name for f in fields(self)} and getattr(self, new_name) is None:
            setattr(self, new_name, self.gradient_checkpointing)
        if not self.use_cpu and not torch.accelerator.is_available():
            raise UserError(
                "use_cpu: no GPU is visible to PyTorch here. Ask for GPUs (gpus_per_node, and a "
                "CUDA build of PyTorch), or set use_cpu: true to train on CPU"
            )
        super().__post_init__()
        if self.packing and self.packing_strategy == "wrapped" and self.assistant_only_loss:
            raise UserError(
                "packing_strategy: wrapped cuts conversations in the middle, which "
                "assistant_only_loss cannot have; use bfd"
            )


def parse(argv: list[str] | None = None) -> tuple[ScriptArguments, TrainingConfig]:
    """Arguments from `--config FILE` (YAML or JSON) and the command line, which wins.

    Raises UserError for a value that no run could use.
    """
    parser = TrlParser([ScriptArguments, TrainingConfig], prog="sft.py")
    script, config = parser.parse_args_and_config(argv)
    if script.model_dtype not in ("float32", "bfloat16", "float16", "auto"):
        raise UserError(
            f"model_dtype: float32, bfloat16, float16 or auto, not {script.model_dtype}"
        )
    return script, config


def attention(script: ScriptArguments, config: SFTConfig) -> str | None:
    """The attention implementation; an explicit choice is kept.

    sdpa builds a (batch x length)^2 mask for packed rows, FlashAttention none.
    """
    if script.attn_implementation or not config.packing:
        return script.attn_implementation
    on_cuda = not config.use_cpu and torch.cuda.is_available()
    return "flash_attention_2" if on_cuda else "sdpa"
