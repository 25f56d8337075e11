"""The baseline of `job_speed`: TRL's SFTTrainer and nothing else.

    accelerate launch --config_file FILE -m tests.benchmarks.bare_trl CONFIG.json TIMES.json

CONFIG.json holds SFTConfig's fields, and `model_name` and `dataset_name`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from datasets import load_from_disk
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):  # type: ignore[misc]
    """(step, seconds) at each log."""

    def __init__(self) -> None:
        self.times: list[tuple[int, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.times.append((state.global_step, time.monotonic()))


def main(config_file: str, times_file: str) -> None:
    config = json.loads(Path(config_file).read_text())
    model, data = config.pop("model_name"), config.pop("dataset_name")
    clock = Clock()
    trainer = SFTTrainer(
        model=model, args=SFTConfig(**config), train_dataset=load_from_disk(data), callbacks=[clock]
    )
    trainer.train()
    if trainer.is_world_process_zero():
        Path(times_file).write_text(json.dumps(clock.times))


if __name__ == "__main__":
    main(*sys.argv[1:3])
