"""Will the planned checkpoints fit on the file system of output_dir."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.config.train import TrainSpec
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.memory import adapter_parameters, parallelism, weight_width
from harness.preflight.shape import ModelShape

_TIGHT = 0.8


def checkpoint_bytes(train: TrainSpec, shape: ModelShape) -> int:
    """Bytes of one checkpoint with AdamW.

    Weights as they are trained and two moments of the same type: 12 bytes a parameter in float32,
    6 in bfloat16 (measured: 1.7B in float32 is 20.6 GB). DeepSpeed with bf16 saves bfloat16
    weights and float32 master weights and moments: 14. LoRA saves its adapters and their moments.
    """
    moments = 2 * weight_width(train, shape)
    if parallelism(train) in ("zero2", "zero3"):
        moments = 12
    if train.sft.get("save_only_model"):
        moments = 0
    return weight_bytes(train, shape) + moments * _trained(train, shape)


def weight_bytes(train: TrainSpec, shape: ModelShape) -> int:
    """Bytes of a checkpoint without what only training needs."""
    width = weight_width(train, shape)
    if parallelism(train) in ("zero2", "zero3"):
        width = 2 if train.bf16 else 4
    return width * _trained(train, shape)


def _trained(train: TrainSpec, shape: ModelShape) -> int:
    return adapter_parameters(train, shape) or shape.parameters


def kept_checkpoints(train: TrainSpec, planned: int) -> int:
    """How many checkpoints lie on disk at the worst moment.

    Pruning waits for evaluations, so one more than is kept is there while it is evaluated, and the
    newest is always kept beside the best.
    """
    keep = str(train.keep_checkpoints)
    if keep == "all":
        return planned
    extra = 2 if keep.startswith("best:") else 1
    return min(int(keep.rpartition(":")[2]) + extra, planned)


def check_disk(
    train: TrainSpec, shape: ModelShape | None, steps: list[int], output: Path
) -> list[Finding]:
    """Planned checkpoints at these steps against the free space where `output` will be."""
    if shape is None or not steps:
        return []
    one, count = checkpoint_bytes(train, shape), kept_checkpoints(train, len(steps))
    # Pruned checkpoints keep their weights unless `prune: checkpoint` says otherwise.
    left = 0 if train.prune == "checkpoint" else (len(steps) - count) * weight_bytes(train, shape)
    existing = next(p for p in (output, *output.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    merged = 2 * shape.parameters * count if train.use_peft else 0
    need = one * count + left + merged
    text = (
        f"{count} checkpoints of {_size(one)} need {_size(need)}; "
        f"{_size(free)} are free at {existing}"
    )
    cure = "Raise save_steps, or give another output_dir"
    if count > 3:
        cure = "Set keep_checkpoints: 2 (and prune: checkpoint, to drop their weights too, after their evaluation), raise save_steps, or give another output_dir"
    if need > free:
        return [error("train.save_steps", text, cure)]
    if need > _TIGHT * free:
        return [warning("train.save_steps", text, cure)]
    return [note("train.save_steps", text)]


def _size(amount: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if amount >= scale:
            return f"{amount / scale:.1f} {unit}"
    return f"{amount / 1e3:.1f} kB"
