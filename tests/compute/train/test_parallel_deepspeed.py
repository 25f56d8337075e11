"""DeepSpeed's ZeRO for real, on two CPU processes over gloo: whole checkpoints, exact resume.

The harness refuses ZeRO with `use_cpu`, because accelerate does. DeepSpeed itself can: here the
script is told that there is an accelerator, takes the CPU for it, and does all else as on GPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl", reason="needs the extra `train`")

from safetensors.torch import load_file

from harness.compute.train.launch import Node, accelerate_config
from harness.config.training.train import TrainSpec
from harness.runs.checkpoints import complete_checkpoints
from tests.compute.train.job_run import PROJECT, TEMPLATE

FOLDER = os.environ.get("HARNESS_DEEPSPEED", "")
"""Where `tests/run.sh --all` puts DeepSpeed, apart from the environment of all other tests."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not FOLDER and find_spec("deepspeed") is None, reason="needs the extra `deepspeed`"
    ),
]

SCRIPT = """
import sys, torch
from harness.compute.train import sft
torch.accelerator.is_available = lambda: True
sys.exit(sft.main())
"""


def train(folder: Path, inputs: Path, parallelism: Any, *further: str) -> dict[str, Any]:
    """Weights of checkpoint-4 after training, or going on, in `folder`."""
    folder.mkdir(exist_ok=True)
    spec = TrainSpec(model_name="m", dataset_name="d", parallelism=parallelism, gpus_per_node=2)
    config = accelerate_config(spec, Node())
    further = (*further, *(("--use_cpu",) if parallelism == "ddp" else ("--ddp_backend", "gloo")))
    (folder / "accelerate.yaml").write_text(yaml.safe_dump(config))
    (folder / "script.py").write_text(SCRIPT)
    env = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1",
           "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
           "PYTHONPATH": f"{PROJECT}:{FOLDER}"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch",
         "--config_file", str(folder / "accelerate.yaml"), str(folder / "script.py"),
         "--model_name", str(inputs / "model"), "--dataset_name", str(inputs / "data"),
         "--chat_template_path", str(TEMPLATE), "--output_dir", str(folder / "out"),
         "--max_length", "64", "--max_steps", "4", "--save_steps", "2", "--logging_steps", "1",
         "--per_device_train_batch_size", "2", "--bf16", "False", "--report_to", "none",
         "--gradient_checkpointing", "False", "--dataloader_pin_memory", "False",
         "--parallelism", parallelism, *further],
        env=env, cwd=PROJECT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert f"2 processes on cpu, {parallelism}" in done.stdout
    newest = complete_checkpoints(folder / "out")[4]
    return dict(load_file(next(newest.glob("*model.safetensors"))))


def largest_difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    assert set(a) - {"lm_head.weight"} == set(b) - {"lm_head.weight"}
    return max(float((a[name] - b[name]).abs().max()) for name in a.keys() & b.keys())


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_zero_ends_with_the_weights_of_ddp_and_resumes_exactly(
    stage: str,
    inputs: Path,
    tmp_path: Path,
) -> None:
    ddp = train(tmp_path / "ddp", inputs, "ddp")
    zero = train(tmp_path / "zero", inputs, stage)
    # A step moves a weight by up to 2e-5; the rest is the order in which gradients are added.
    assert largest_difference(zero, ddp) <= 1e-6
    shutil.rmtree(tmp_path / "zero" / "out" / "checkpoint-4")
    assert largest_difference(train(tmp_path / "zero", inputs, stage), zero) == 0.0
