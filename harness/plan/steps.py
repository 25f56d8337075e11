"""How many optimizer steps a training run has, and at which of them it writes a checkpoint. Pure."""

from __future__ import annotations

import math

from harness.config.training.train import TrainSpec
from harness.errors import UserError

MAX_CHECKPOINTS = 100_000


def total_steps(train: TrainSpec, rows: int | None) -> int:
    """Optimizer steps of a training run.

    `max_steps` where it is set; else ceil(epochs x steps per epoch) with the Trainer's own rule:
    ceil(batches of a process / accumulation) steps an epoch (transformers, Trainer).
    Raises UserError when neither is known.
    """
    if train.max_steps is not None:
        return train.max_steps
    if rows is None:
        raise UserError(
            "train: the number of steps is unknown: set train.max_steps, or make the dataset readable"
        )
    if train.packing:
        raise UserError(
            "train.packing: the number of steps depends on how rows pack: set train.max_steps"
        )
    batches = process_batches(train, rows)
    per_epoch = max(math.ceil(batches / train.gradient_accumulation_steps), 1)
    return math.ceil(train.num_train_epochs * per_epoch)


def process_batches(train: TrainSpec, rows: int) -> int:
    """Batches that each process has of an epoch: ceil(ceil(rows / batch) / world), or with
    `dataloader_drop_last` floor of both (torch's DataLoader, accelerate's BatchSamplerShard)."""
    used, batch = min(rows, train.max_samples), train.per_device_train_batch_size
    if train.sft.get("dataloader_drop_last"):
        return used // batch // train.world_size
    return math.ceil(math.ceil(used / batch) / train.world_size)


def planned_steps(train: TrainSpec, total: int) -> list[int]:
    """Steps at which a checkpoint is written: every multiple of `save_steps`, and the last.

    Raises UserError for more than any disk holds.
    """
    if total // train.save_steps > MAX_CHECKPOINTS:
        raise UserError(
            f"train.save_steps: {total:,} steps with a checkpoint every {train.save_steps:,} are "
            f"more than {MAX_CHECKPOINTS:,} checkpoints: raise save_steps, or lower max_steps"
        )
    steps = list(range(train.save_steps, total + 1, train.save_steps))
    return steps if steps and steps[-1] == total else [*steps, total]
