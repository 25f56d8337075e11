"""Steps per second of our training job, against bare TRL with the same configuration.

    python -m tests.benchmarks.job_speed [ROUNDS] [STEPS]

Two CPU processes each, by accelerate, one after the other in turn (A B A B …), so that a drifting
machine slows both. Timed from step 20 to the last; both log every 10 steps, both save in between.
The ratio is of medians, and of the best round of each, which noise touches less. About 3 minutes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from harness.compute.train.launch import Node, accelerate_config
from harness.config.training.script import script_arguments
from harness.config.training.sft_fields import SFT_FIELDS
from harness.config.training.train import TrainSpec
from harness.package import ROOT, SHIPPED
from harness.runs.files import write_json
from harness.runs.paths import RunPaths
from tests.tiny_model import make_tiny_dataset, make_tiny_tokenizer

WARM_UP = 20


def make_model(folder: Path, **shape: int) -> Path:
    """A Qwen3 of 6 million parameters: a step takes about as long as it takes to be measured.

    `shape`: fields of its configuration that are to be others.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_tokenizer(folder))
    torch.manual_seed(0)
    small = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 2048}  # fmt: skip
    shape = small | shape
    config = Qwen3Config(
        vocab_size=448, intermediate_size=3 * shape["hidden_size"], tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, **shape,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def run(argv: list[str], log: Path, on_cpu: bool = True) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if on_cpu:
        env |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("w") as file:
        code = subprocess.run(argv, cwd=ROOT, env=env, stdout=file, stderr=file).returncode
    if code != 0:
        sys.exit(f"{argv} exited {code}:\n{log.read_text()[-3000:]}")


def speed(times: list[tuple[int, float]]) -> float:
    """Steps/s after the warm-up."""
    timed = [(step, seconds) for step, seconds in times if step >= WARM_UP]
    (first, began), (last, ended) = timed[0], timed[-1]
    return (last - first) / (ended - began)


def ours(folder: Path, train: TrainSpec) -> float:
    paths = RunPaths(folder / "ours" / "20260101-000000-abcd")
    paths.root.mkdir(parents=True)
    spec = {"name": "ours", "train": train.model_dump(mode="json", exclude={"sft"})}
    paths.spec.write_text(yaml.safe_dump(spec))
    run([sys.executable, "-m", "harness.compute.train.job", str(paths.root)],
        folder / "ours.log", train.use_cpu)  # fmt: skip
    entries = [json.loads(line) for line in paths.train_log.read_text().splitlines()]
    return speed([(entry["step"], entry["seconds"]) for entry in entries])


def theirs(folder: Path, train: TrainSpec) -> float:
    template = SHIPPED / str(train.chat_template_path)
    config: dict[str, Any] = script_arguments(train, folder, folder / "out", template)
    known = SFT_FIELDS | {"model_name", "dataset_name"}
    config = {k: v for k, v in config.items() if k in known} | {"disable_tqdm": True}
    config["model_init_kwargs"] = {"dtype": train.model_dtype}
    write_json(folder / "bare.json", config)
    launcher = folder / "accelerate.yaml"
    launcher.write_text(yaml.safe_dump(accelerate_config(train, Node())))
    run([sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launcher), "-m",
         "tests.benchmarks.bare_trl", str(folder / "bare.json"), str(folder / "times.json")],
        folder / "bare.log", train.use_cpu)  # fmt: skip
    # The last log is the summary at the end of training.
    return speed([tuple(pair) for pair in json.loads((folder / "times.json").read_text())][:-1])


def main(rounds: int = 3, steps: int = 120) -> None:
    found: dict[str, list[float]] = {"ours": [], "bare TRL": []}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        train = TrainSpec(
            model_name=str(make_model(base / "model")),
            dataset_name=str(make_tiny_dataset(base / "data", 2000)),
            chat_template_path="templates/chat/qwen3_nonthinking.jinja", use_cpu=True, bf16=False,
            gradient_checkpointing=False, max_length=256, max_steps=steps, save_steps=steps // 2,
            warmup_steps=1, per_device_train_batch_size=4, gradient_accumulation_steps=1,
            logging_steps=10,
        )  # fmt: skip
        for number in range(rounds):
            for who, measure in (("ours", ours), ("bare TRL", theirs)):
                folder = base / f"{number}-{who[0]}"
                folder.mkdir()
                began = time.monotonic()
                found[who].append(measure(folder, train))
                print(f"round {number + 1} of {rounds}: {who:8} {found[who][-1]:.3f} steps/s "
                      f"({time.monotonic() - began:.0f} s in all)", flush=True)  # fmt: skip
    a, b = found["ours"], found["bare TRL"]
    print(f"ratio of medians {statistics.median(a) / statistics.median(b):.3f}, "
          f"of the best {max(a) / max(b):.3f} (goal: at least 0.98)")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
