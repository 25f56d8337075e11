"""What the training processes share: read from the launcher, made right, and proved.

`accelerate launch` says it in environment variables (accelerate 1.15, `utils/launch.py`).
"""

from __future__ import annotations

import os
from typing import Any

import torch

from harness.errors import TrainingError, UserError


def launched_parallelism() -> str:
    """`ddp`, `fsdp2`, `zero1`, `zero2` or `zero3`, as the launcher's configuration has it.

    Raises UserError for a configuration whose checkpoints no server could load.
    """
    env = os.environ
    if env.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        return _launched_zero()
    if env.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return "ddp"
    if env.get("FSDP_VERSION") != "2":
        raise UserError("fsdp_config: FSDP1 is not supported here: set fsdp_version: 2")
    if env.get("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT") != "FULL_STATE_DICT":
        raise UserError(
            "fsdp_config: checkpoints would hold shards and no Hugging Face weights: set "
            "fsdp_state_dict_type: FULL_STATE_DICT"
        )
    return "fsdp2"


def _launched_zero() -> str:
    env = os.environ
    if env.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none") != "none":
        raise UserError(
            "deepspeed_config: a deepspeed_config_file cannot be checked here: give zero_stage and "
            "the other fields of accelerate's deepspeed_config"
        )
    stage = env.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    gathers = env.get("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL", "").lower() == "true"
    if stage == "3" and not gathers:
        raise UserError(
            "deepspeed_config: checkpoints would hold shards and no Hugging Face weights: set "
            "zero3_save_16bit_model: true"
        )
    return f"zero{stage}"


def prepare_sharding(config: Any, use_peft: bool = False) -> str:
    """Make an SFTConfig right for how it was launched; returns the parallelism.

    To be called before the trainer is built. Raises UserError for what cannot be trained so.
    """
    launched = launched_parallelism()
    if launched == "fsdp2":
        _prepare_fsdp2(config)
    if use_peft and config.ddp_find_unused_parameters is None:
        config.ddp_find_unused_parameters = False  # every adapter takes part in every step
    return launched


def _prepare_fsdp2(config: Any) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if config.bf16 or config.fp16:
        dtype = torch.bfloat16 if config.bf16 else torch.float16
        # accelerate's own policy also sums gradients in half precision, which DDP does not.
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        config.fsdp_plugin_args = {"mixed_precision_policy": policy}
    if config.use_cpu:
        from accelerate import PartialState
        from accelerate.utils import DistributedType

        # accelerate shards where the type is MULTI_GPU and runs DDP where it is MULTI_CPU, silently.
        # gloo can do what FSDP2 asks, so that sharding can be tried without a GPU.
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def prove_parallelism(accelerator: Any, expected: str) -> None:
    """Raise TrainingError unless the trainer's accelerator really shares what was asked for."""
    state = accelerator.state
    if getattr(state, "deepspeed_plugin", None) is not None:
        active = f"zero{state.deepspeed_plugin.zero_stage}"
    elif getattr(state, "fsdp_plugin", None) is not None:
        active = f"fsdp{state.fsdp_plugin.fsdp_version}"
    else:
        active = "ddp"
    if active != expected:
        raise TrainingError(f"parallelism: {expected} was asked for, but {active} is active")
