"""Will the planned checkpoints fit on the file system of output_dir."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.training.memory import adapter_parameters, weight_width
from harness.runs.models.shape import ModelShape

_TIGHT = 0.8


def checkpoint_bytes(train: TrainSpec, shape: ModelShape) -> tuple[int, int]:
    """Bytes of weights and of optimizer state in one checkpoint with AdamW.

    Weights as they are trained and two moments of the same type: 12 bytes a parameter in float32,
    6 in bfloat16 (measured: 1.7B in float32 is 20.6 GB). DeepSpeed with bf16 saves bfloat16
    weights and float32 master weights and moments: 14. LoRA saves its adapters and their moments.
    """
    width = weight_width(train, shape)
    parameters = adapter_parameters(train, shape) or shape.parameters
    weights, moments = width, 2 * width
    if train.parallelism in ("zero2", "zero3"):
        weights, moments = (2 if train.bf16 else 4), 12
    if train.sft.get("save_only_model"):
        moments = 0
    return parameters * weights, parameters * moments


def kept_checkpoints(train: TrainSpec, planned: int) -> int:
    """How many unpruned checkpoints lie on disk at the worst moment.

    Pruning waits for evaluations, so one more than is kept is there while it is evaluated, and the
    newest is always kept beside the best.
    """
    if train.keep_checkpoints == "all":
        return planned
    best = train.keep_best
    return min(int(train.keep_checkpoints) + 1 if best is None else best + 2, planned)


def check_disk(
    train: TrainSpec, shape: ModelShape | None, steps: list[int], output: Path
) -> list[Finding]:
    """Planned checkpoints at these steps against the free space where `output` will be."""
    if shape is None or not steps:
        return []
    weights, optimizer = checkpoint_bytes(train, shape)
    whole = kept_checkpoints(train, len(steps))
    pruned = len(steps) - whole if train.prune == "optimizer" else 0
    existing = next(p for p in (output, *output.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    merged = weight_width(train, shape) * shape.parameters if train.use_peft else 0
    need = whole * (weights + optimizer) + pruned * weights + (whole + pruned) * merged
    text = f"{whole} checkpoints of {_size(weights + optimizer)}"
    text += f", {pruned} pruned to {_size(weights)}" if pruned else ""
    text += f", merged models of {_size(merged)}" if merged else ""
    text += f" need {_size(need)}; {_size(free)} are free at {existing}"
    cure = "Raise save_steps, or give another output_dir"
    if len(steps) > 3 and (train.keep_checkpoints == "all" or pruned):
        cure = (
            "Set keep_checkpoints: 2 and prune: checkpoint (deleted once evaluated), raise "
            "save_steps, or give another output_dir"
        )
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
