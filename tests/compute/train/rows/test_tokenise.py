"""Rows tokenised once: exactly TRL's own, and others only where others are asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from datasets import Dataset, load_from_disk

from harness.compute.train.arguments import ScriptArguments, TrainingConfig, parse
from harness.compute.train.rows import tokenise
from harness.compute.train.rows.sources import Part
from harness.errors import UserError
from tests.support import shared_data
from tests.tiny_model import make_tiny_dataset

from .tokenise_arguments import PROJECT, arguments


def by_trl(script: ScriptArguments, config: TrainingConfig) -> Dataset:
    """The rows that a plain SFTTrainer makes of the same arguments."""
    from trl import SFTTrainer

    trainer = SFTTrainer(
        model=script.model_name, args=config, train_dataset=load_from_disk(script.dataset_name)
    )
    return trainer.train_dataset


def gsm8k_rows(folder: Path, count: int) -> Path:
    """Real questions and answers as chats."""
    import json

    shared = shared_data()
    if shared is None:
        pytest.skip("the folder of real benchmark data is not on this machine")
    lines = (shared / "gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    chats = [
        [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["answer"]},
        ]
        for row in map(json.loads, lines)
    ]
    Dataset.from_dict({"messages": chats}).save_to_disk(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("packing", ["False", "True"])
def test_the_rows_are_those_that_trl_itself_would_make(
    inputs: Path, tmp_path: Path, packing: str
) -> None:
    gsm8k_rows(tmp_path / "gsm8k", 300)
    argv = arguments(tmp_path, tmp_path / "out", "--packing", packing, "--max_length", "400")
    shutil.copytree(inputs / "model", tmp_path / "model")
    argv[argv.index("--dataset_name") + 1] = str(tmp_path / "gsm8k")
    script, config = parse(argv)
    tokenise.make(script, config)
    target = tokenise.place(script, config, tokenise.load_tokenizer(script, config))
    ours, theirs = load_from_disk(str(target.rows)), by_trl(script, config)
    columns = [name for name in theirs.column_names if name != "messages"]
    assert {"input_ids", "labels"} <= set(columns)
    assert ours.select_columns(columns).to_list() == theirs.select_columns(columns).to_list()


@pytest.mark.long
def test_what_packs_together_does_not_depend_on_the_number_of_processes(
    inputs: Path, tmp_path: Path
) -> None:
    folder = make_tiny_dataset(tmp_path / "many", 2500)
    found = []
    for workers in ("1", "2"):
        argv = arguments(
            inputs, tmp_path / workers, "--packing", "True", "--dataset_num_proc", workers
        )
        argv[argv.index("--dataset_name") + 1] = str(folder)
        script, config = parse(argv)
        tokenizer = tokenise.load_tokenizer(script, config)
        parts = [Part("data", load_from_disk(str(folder)))]
        found.append(tokenise.prepare(parts, tokenizer, config).to_list())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "change",
    [("--max_length", "47"), ("--packing", "True"), ("--max_samples", "9"),
     ("--shuffle_dataset", "True"), ("--assistant_only_loss", "False")],
    ids=lambda change: change[0],
)  # fmt: skip
def test_other_arguments_are_other_rows(
    inputs: Path, tmp_path: Path, change: tuple[str, str]
) -> None:
    assert key(inputs, tmp_path) == key(inputs, tmp_path)
    assert key(inputs, tmp_path, *change) != key(inputs, tmp_path)


def key(inputs: Path, out: Path, *more: str) -> str:
    script, config = parse(arguments(inputs, out, *more))
    return tokenise.place(script, config, tokenise.load_tokenizer(script, config)).key


@pytest.mark.parametrize(
    ("chooses", "same"),
    [((), True), (("--max_samples", "41"), True), (("--max_samples", "9"), False),
     (("--shuffle_dataset", "True"), False)],
    ids=["all-rows", "cap-above", "cap-below", "shuffled"],
)  # fmt: skip
def test_another_seed_is_other_rows_only_where_it_chooses_or_orders_them(
    inputs: Path, tmp_path: Path, chooses: tuple[str, ...], same: bool
) -> None:
    found = {key(inputs, tmp_path, *chooses, "--seed", seed) for seed in "34"}
    assert (len(found) == 1) is same


@pytest.mark.long
def test_a_dataset_on_a_read_only_disk_is_not_touched(inputs: Path, tmp_path: Path) -> None:
    """Root may write where the mode forbids it: so a mount says no."""
    made = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "true"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no mount namespaces here: {made.stderr.decode().strip()}")
    data = str(inputs / "data")
    script = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/x" && exec "$@"'
    )
    argv = [sys.executable, "-m", "harness.compute.train.rows.tokenise"]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script, data, *argv,
         *arguments(inputs, tmp_path / "out", "--max_samples", "7")],
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "7 of 40 rows (shuffled with seed 3)" in done.stdout


def test_rows_that_are_all_cut_away_are_an_error(inputs: Path, tmp_path: Path) -> None:
    script, config = parse(arguments(inputs, tmp_path / "out", "--max_length", "8"))
    with pytest.raises(UserError, match="no row is left to train on"):
        tokenise.make(script, config)


def test_the_child_asks_for_no_backend(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    config = parse(arguments(inputs, tmp_path, "--ddp_backend", "gloo"))[1]
    assert (config.ddp_backend, config.world_size) == (None, 1)


def test_rows_cannot_be_left_unprepared(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dataset_kwargs: cannot be set"):
        parse(arguments(inputs, tmp_path, "--dataset_kwargs", '{"skip_prepare_dataset": true}'))
