"""The training script by hand: as a module, by its path, and every argument of the standard command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.arguments import parse
from harness.compute.train.launch import Node, accelerate_config
from harness.config.training.train import TrainSpec
from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.files import read_json
from tests.tiny_model import make_tiny_dataset, make_tiny_model

PROJECT = ROOT
TEMPLATE = PROJECT / "templates" / "chat" / "qwen3_nonthinking.jinja"
STANDARD: dict[str, Any] = {
    "model_name": "m", "dataset_name": "d", "output_dir": "/o", "max_length": 4096,
    "assistant_only_loss": True, "chat_template_path": "templates/chat/qwen3.jinja",
    "packing": False, "bf16": True, "gradient_checkpointing": True, "learning_rate": 2e-5,
    "lr_scheduler_type": "cosine", "warmup_steps": 100, "save_steps": 500, "eos_token": None,
    "model_dtype": "float32", "max_steps": None, "num_train_epochs": 1.0,
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "logging_steps": 10,
    "seed": 42,
}  # fmt: skip
"""The arguments of the standard command, and what the spec takes where it names none."""
GIVEN = ("model_name", "dataset_name", "output_dir", "chat_template_path")


def test_the_spec_has_every_argument_with_its_default() -> None:
    train = TrainSpec(**{name: STANDARD[name] for name in GIVEN})
    assert {name: getattr(train, name) for name in STANDARD} == STANDARD


def test_the_script_takes_every_argument_by_its_name() -> None:
    argv = ["--use_cpu"]
    for name, value in STANDARD.items():
        if value is True:
            argv.append(f"--{name}")  # a bare flag
        elif value is not None:
            argv += [f"--{name}", str(value)]
    script, config = parse([*argv, "--eos_token", "<|im_end|>", "--max_steps", "15000"])
    expected = {**STANDARD, "eos_token": "<|im_end|>", "max_steps": 15000}
    found = {n: getattr(script if hasattr(script, n) else config, n) for n in expected}
    assert found == expected


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 32)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("how", ["module", pytest.param("path", marks=pytest.mark.slow)])
def test_it_trains_under_accelerate_launch(how: str, inputs: Path, tmp_path: Path) -> None:
    """Two processes, without a run folder: state, log and trackers lie beside the checkpoints."""
    train = TrainSpec(model_name="m", dataset_name="d", use_cpu=True)
    launcher = tmp_path / "accelerate.yaml"
    launcher.write_text(yaml.safe_dump(accelerate_config(train, Node())))
    script = {"module": ["-m", "harness.compute.train.sft"],
              "path": [str(PROJECT / "harness" / "compute" / "train" / "sft.py")]}[how]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launcher),
         *script, "--model_name", str(inputs / "model"), "--dataset_name", str(inputs / "data"),
         "--output_dir", "out", "--chat_template_path", str(TEMPLATE), "--packing",
         "--assistant_only_loss", "--max_length", "128", "--max_steps", "2", "--save_steps", "2",
         "--per_device_train_batch_size", "1", "--bf16", "False", "--use_cpu", "--logging_steps",
         "1", "--report_to", "none"],
        cwd=tmp_path,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
             **({"PYTHONPATH": str(PROJECT)} if how == "module" else {"PYTHONPATH": ""})},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes on cpu, ddp, attention: sdpa" in done.stdout
    out = tmp_path / "out"
    assert list(complete_checkpoints(out)) == [2]
    marker = read_marker(out / "checkpoint-2")
    assert marker is not None and (marker["world_size"], marker["packing"]) == (2, True)
    assert read_json(out / "state.json")["state"] == "complete"
    assert len((out / "log.jsonl").read_text().splitlines()) == 2
