"""From a spec to `accelerate launch`: its configuration, its command, its environment. Pure.

The configuration alone, for `accelerate launch --config_file` by hand:

    python -m harness.compute.train.launch --parallelism fsdp2 --processes 8 > fsdp2.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from harness.config.training.train import Parallelism, TrainSpec

ATTEMPT_VARIABLE = "HARNESS_TRAIN_ATTEMPT"
"""Names one start of the job, in the environment of all its processes."""

SHUTDOWN_S = 120
"""Seconds that the launcher grants workers after TERM, for a step and a save."""


@dataclass(frozen=True)
class Node:
    """Which machine of a training job this is."""

    rank: int = 0
    count: int = 1
    main_address: str = "127.0.0.1"
    main_port: int = 0
    """Port of the rendezvous; the launcher takes a free one for 0."""


def accelerate_config(train: TrainSpec, node: Node) -> dict[str, Any]:
    """The accelerate configuration of this node's launcher (fields: accelerate 1.15).

    Two CPU processes need MULTI_GPU here: `--cpu --num_processes 2` runs one, silently.
    Mixed precision stays with the script, which knows the device.
    """
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _DISTRIBUTED_TYPE[train.parallelism] if train.world_size > 1 else "NO",
        "num_machines": node.count,
        "num_processes": train.world_size,
        "machine_rank": node.rank,
        "main_process_ip": node.main_address,
        "main_process_port": node.main_port,
        "same_network": True,
        "rdzv_backend": "static",
        "mixed_precision": "no",
        "use_cpu": train.use_cpu,
        "main_training_function": "main",
        "debug": False,
        **_sharding(train),
    }


_DISTRIBUTED_TYPE = {
    "ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED",
}  # fmt: skip


def _sharding(train: TrainSpec) -> dict[str, Any]:
    """How weights are shared, and gathered again for every checkpoint.

    Recomputation of activations stays with the Trainer (`gradient_checkpointing`) in every case:
    FSDP's own and the Trainer's exclude each other.
    """
    if train.parallelism == "fsdp2":
        return {
            "fsdp_config": {
                "fsdp_version": 2,
                "fsdp_reshard_after_forward": True,
                "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
                # Sharded would leave no Hugging Face weights in a checkpoint.
                "fsdp_state_dict_type": "FULL_STATE_DICT",
                "fsdp_cpu_ram_efficient_loading": True,
                "fsdp_offload_params": False,
                "fsdp_activation_checkpointing": False,
            }
        }
    if train.parallelism in ("zero2", "zero3"):
        return {
            "deepspeed_config": {
                "zero_stage": int(train.parallelism[-1]),
                "zero3_init_flag": train.parallelism == "zero3",
                # Else a checkpoint holds shards only.
                "zero3_save_16bit_model": train.parallelism == "zero3",
                "offload_optimizer_device": "none",
                "offload_param_device": "none",
                # srun starts every node's launcher; pdsh over ssh would be DeepSpeed's own way.
                "deepspeed_multinode_launcher": "standard",
            }
        }
    return {}


def command(accelerate_file: Path, arguments_file: Path, python: str = sys.executable) -> list[str]:
    """The launcher's command."""
    return [
        python, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_file),
        "-m", "harness.compute.train.sft", "--config", str(arguments_file),
    ]  # fmt: skip


def environment(
    base: Mapping[str, str], train: TrainSpec, project: Path, cores: int, attempt: str
) -> dict[str, str]:
    """The launcher's environment: what is there already, and what training needs."""
    added = {
        ATTEMPT_VARIABLE: attempt,
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_S),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": ":".join(p for p in (str(project), base.get("PYTHONPATH", "")) if p),
    }
    if train.use_cpu:
        added["ACCELERATE_USE_CPU"] = "true"
        added["CUDA_VISIBLE_DEVICES"] = ""
    result = {**base, **added}
    # One thread each is torchrun's default, which starves CPU training and tokenising.
    result.setdefault("OMP_NUM_THREADS", str(max(1, cores // train.processes_per_node)))
    return result


def main(argv: list[str] | None = None) -> None:
    """Print an accelerate configuration for one machine."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.compute.train.launch", description=main.__doc__
    )
    choices = get_args(Parallelism)
    parser.add_argument("--parallelism", choices=choices, default="ddp")
    parser.add_argument("--processes", type=int, default=8, help="GPUs (8)")
    given = parser.parse_args(argv)
    if given.processes < (1 if given.parallelism == "ddp" else 2):
        parser.error(f"--processes {given.processes} is too few for {given.parallelism}")
    train = TrainSpec(
        model_name="-", dataset_name="-",
        parallelism=given.parallelism, gpus_per_node=given.processes,
    )  # fmt: skip
    print(yaml.safe_dump(accelerate_config(train, Node()), sort_keys=False), end="")


if __name__ == "__main__":
    main()
