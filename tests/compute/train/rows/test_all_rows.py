"""A split that is not trained: its loss at every save, by real TRL, through a run's own job."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

import torch
from datasets import Dataset, DatasetDict, load_from_disk
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from harness.results.training_curve import read_log, validation_losses
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.paths import RunPaths
from harness.runs.progress import read_progress
from harness.runs.tokenised import tokenised_cache
from tests.compute.train.job_run import (
    finish,
    make_run,
    signal_everyone,
    start,
    state,
    train,
    wait_for,
)
from tests.tiny_model import make_tiny_dataset, make_tiny_model

pytestmark = pytest.mark.long
HELD_OUT = 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, str]:
    folder = tmp_path_factory.mktemp("validation")
    make_tiny_model(folder / "model")
    rows = load_from_disk(str(make_tiny_dataset(folder / "rows", 40)))
    test = Dataset.from_list([rows[i] for i in range(HELD_OUT)])
    DatasetDict({"train": rows, "test": test}).save_to_disk(folder / "data")
    paths = make_run(
        folder / "run", folder, eval_split="test", max_steps=5, save_steps=2, cpu_processes=1,
        bf16=False, per_device_train_batch_size=8, logging_steps=2,
    )  # fmt: skip
    code, output = train(paths)
    assert code == 0, output
    return paths, output


def test_its_loss_is_logged_at_every_save_and_at_the_end(finished: tuple[RunPaths, str]) -> None:
    paths, output = finished
    losses = validation_losses(read_log(paths.train_log))
    assert list(losses) == list(complete_checkpoints(paths.checkpoints)) == [2, 4, 5]
    assert "step 4/5  validation loss " in output
    assert read_progress(paths)["eval_loss"] == losses[5]
    for line in map(json.loads, paths.train_log.read_text().splitlines()):
        assert ("loss" in line) != ("eval_loss" in line)


def test_it_is_the_loss_of_the_checkpoint_on_rows_masked_as_those_of_training(
    finished: tuple[RunPaths, str],
) -> None:
    paths, _ = finished
    sets = [load_from_disk(str(f)) for f in tokenised_cache(paths).glob("[0-9a-f]*/rows")]
    (held_out,) = [rows for rows in sets if len(rows) == HELD_OUT]
    assert any(-100 in row["labels"] for row in held_out)
    model = AutoModelForCausalLM.from_pretrained(complete_checkpoints(paths.checkpoints)[5])
    total = count = 0.0
    for row in held_out:
        labels = torch.tensor(row["labels"])[1:]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        kept = labels != -100
        total += torch.nn.functional.cross_entropy(
            logits[kept], labels[kept], reduction="sum"
        ).item()
        count += int(kept.sum())
    assert validation_losses(read_log(paths.train_log))[5] == pytest.approx(total / count, rel=1e-3)


def test_told_to_stop_between_two_of_them_it_goes_on_exactly_with_packed_rows_too(
    finished: tuple[RunPaths, str], tmp_path: Path
) -> None:
    inputs = finished[0].root.parents[2]
    fields = {"eval_split": "test", "max_steps": 24, "save_steps": 8, "cpu_processes": 1,
              "bf16": False, "packing": True}  # fmt: skip
    whole, stopped = (make_run(tmp_path / name, inputs, **fields) for name in ("a", "b"))
    code, output = train(whole)
    assert code == 0, output
    job = start(stopped)
    wait_for(
        lambda: len(read_log(stopped.train_log)) >= 10 if stopped.train_log.is_file() else False,
        job,
    )
    signal_everyone(job, signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0, output
    assert state(stopped)["state"] == "preempted"
    assert 9 <= state(stopped)["step"] < 24
    code, output = train(stopped)
    assert code == 0, output
    losses = [validation_losses(read_log(run.train_log)) for run in (whole, stopped)]
    assert losses[0] == losses[1]
    assert list(losses[0]) == [8, 16, 24]
    a, b = (load_file(run.checkpoints / "checkpoint-24" / "model.safetensors")
            for run in (whole, stopped))  # fmt: skip
    assert all(torch.equal(a[name], b[name]) for name in a)
