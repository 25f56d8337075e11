"""How many steps and checkpoints there will be."""

from __future__ import annotations

from harness.config.train import TrainSpec
from harness.plan import total_steps
from harness.preflight.findings import Finding, note


def check_steps(train: TrainSpec, rows: int | None) -> list[Finding]:
    """Findings about `train.max_steps` and epochs."""
    if train.max_steps is None or rows is None or train.packing:
        return []
    per_epoch = total_steps(
        train.model_copy(update={"max_steps": None, "num_train_epochs": 1}), rows
    )
    epochs = train.max_steps / per_epoch
    if abs(epochs - train.num_train_epochs) < 0.01:
        return []
    return [
        note(
            "train.max_steps",
            f"{train.max_steps} steps are {epochs:.2f} epochs of {rows} rows; "
            "max_steps overrides num_train_epochs",
        )
    ]
