"""Where training goes on: from the newest marked checkpoint, or from the start."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.runs.checkpoints import (
    complete_checkpoints,
    is_adapter,
    is_model_only,
    is_resumable,
    read_marker,
)
from harness.runs.paths import checkpoint_step

ROWS = "rows_sha256"
"""In a marker: the digest of the rows that were trained on."""


@dataclass(frozen=True)
class BatchFacts:
    """What must be the same for a resumed run to go on where it was."""

    world_size: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    seed: int
    max_length: int | None
    packing: bool
    parallelism: str = "ddp"


def set_aside_incomplete(folder: Path) -> list[Path]:
    """Rename checkpoints without a marker to `checkpoint-N.incomplete-<UTC time>`.

    They are kept for a person to look at, and can never be resumed from or evaluated.
    """
    moved = []
    for path in sorted(folder.glob("checkpoint-*")):
        if checkpoint_step(path.name) is None or read_marker(path) is not None:
            continue
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        target = path.with_name(f"{path.name}.incomplete-{now}")
        os.rename(path, target)
        moved.append(target)
    return moved


def newest_complete(folder: Path) -> Path | None:
    """The marked checkpoint of the highest step that can be resumed from; None when there is none.

    Without its optimizer state the Trainer would go on from a pruned one, silently wrong.
    """
    marked = reversed(complete_checkpoints(folder).values())
    return next((path for path in marked if is_resumable(path)), None)


def newest_model_only(folder: Path) -> Path | None:
    """The newest marked checkpoint, where it was saved without optimizer and schedule."""
    newest = next(iter(reversed(complete_checkpoints(folder).values())), None)
    return newest if newest is not None and is_model_only(newest) else None


def only_models(checkpoint: Path) -> str:
    """Why training cannot go on from it, and the ways out."""
    return (
        f"{checkpoint}: cannot be resumed: it was saved with save_only_model, without optimizer and "
        "schedule\nGive another output_dir to start anew, or another output_dir and this checkpoint "
        "as model_name to train further from its weights; save_only_model: false keeps what resuming "
        "needs, and `prune: optimizer` frees it after the evaluation."
    )


def check_resumable(
    checkpoint: Path, facts: BatchFacts, use_peft: bool = False, rows: str | None = None
) -> None:
    """Raise UserError when a checkpoint was trained with another batch, world size or parallelism,
    or on other rows (`rows` is their digest).

    Data order and optimizer state would no longer fit each other, silently.
    """
    if is_adapter(checkpoint) != use_peft:
        kinds = "an adapter", "a whole model"
        has, wants = kinds if is_adapter(checkpoint) else reversed(kinds)
        raise UserError(
            f"{checkpoint}: cannot be resumed: it holds {has}, use_peft: {str(use_peft).lower()} "
            f"trains {wants}\nGive the same use_peft again, or start a new run (another output_dir)."
        )
    marker = read_marker(checkpoint) or {}
    now = asdict(facts)
    changed = [
        f"{name} was {marker[name]}, is now {value}"
        for name, value in now.items()
        if name in marker and marker[name] != value
    ]
    if rows is not None and marker.get(ROWS, rows) != rows:
        changed.append("the rows of dataset_name are others than it was trained on")
    if changed:
        raise UserError(
            f"{checkpoint}: cannot be resumed: {'; '.join(changed)}\n"
            "Give the same values again, or start a new run (another output_dir) with this "
            "checkpoint as model_name."
        )


def is_finished(checkpoint: Path, max_steps: int, num_train_epochs: float) -> bool:
    """Whether a checkpoint is the last of this very plan: nothing is left to train.

    The Trainer itself would train one step too many. `max_steps` is 0 or less when unset.
    """
    marker: dict[str, Any] = read_marker(checkpoint) or {}
    step = checkpoint_step(checkpoint.name) or 0
    if max_steps > 0:
        return step >= max_steps
    planned = marker.get("max_steps")
    same = marker.get("num_train_epochs") == num_train_epochs
    return same and isinstance(planned, int) and step >= planned
