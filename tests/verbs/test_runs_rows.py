"""What was planned is what is trained, and other rows are not gone on with: by `check` and `submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl", reason="TRL is not installed")

from harness.runs.checkpoints import complete_checkpoints
from tests.support import ROOT
from tests.tiny_model import make_tiny_dataset, make_tiny_model
from tests.verbs.test_common import command

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


def spec(**train: Any) -> None:
    fields = {
        "model_name": "model", "dataset_name": "data", "output_dir": "out", "use_cpu": True,
        "cpu_processes": 1, "bf16": False, "max_length": 128, "save_steps": 100, "warmup_steps": 1,
        "num_train_epochs": 1, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 1,
        "logging_steps": 1, "dataloader_drop_last": True,
        "chat_template_path": str(ROOT / "templates" / "chat" / "qwen3.jinja"),
    }  # fmt: skip
    Path("sft.yaml").write_text(yaml.safe_dump({"name": "own", "train": {**fields, **train}}))


def test_planned_steps_are_trained_and_other_rows_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_model(here / "model")
    make_tiny_dataset(here / "data", 10)
    spec()
    assert command("submit", "sft.yaml", "--wait", "--poll", "1") == 0
    assert "train: 3 steps of 3 sequences" in capsys.readouterr().err
    assert list(complete_checkpoints(here / "out")) == [3]

    make_tiny_dataset(here / "more", 12)
    spec(num_train_epochs=2, dataset_name="more")
    assert command("check", "sft.yaml") == 2
    told = capsys.readouterr()
    assert "the rows of dataset_name: " in told.out + told.err
    assert "another output_dir" in told.out + told.err
    assert command("submit", "sft.yaml", "--wait", "--poll", "1", "--no-check") != 0
    log = "".join(p.read_text() for p in (here / "runs/own/latest").rglob("*.out"))
    assert "cannot be resumed: " in log and "the rows of dataset_name are others" in log
    assert list(complete_checkpoints(here / "out")) == [3]
