"""Rows tokenised once: exactly TRL's own, shared, reused, and never waited for in vain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from datasets import Dataset, load_from_disk

from harness.compute.train.arguments import ScriptArguments, TrainingConfig, parse
from harness.compute.train.rows import tokenise
from harness.compute.train.rows import tokenised as rows_module
from harness.compute.train.stop import StopRequest
from harness.errors import TrainingError, UserError
from tests.support import ROOT, shared_data
from tests.tiny_model import make_tiny_dataset, make_tiny_model

PROJECT = ROOT
TEMPLATE = PROJECT / "templates" / "chat" / "qwen3_nonthinking.jinja"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 40)
    return folder


def arguments(inputs: Path, out: Path, *more: str, data: str = "data") -> list[str]:
    return [
        "--model_name", str(inputs / "model"), "--dataset_name", str(inputs / data),
        "--output_dir", str(out), "--max_length", "48", "--assistant_only_loss", "True",
        "--chat_template_path", str(TEMPLATE), "--use_cpu", "True", "--bf16", "False",
        "--report_to", "none", "--seed", "3", *more,
    ]  # fmt: skip


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
        found.append(tokenise.prepare(load_from_disk(str(folder)), tokenizer, config).to_list())
    assert found[0] == found[1]


def ask(argv: list[str], index: int = 0, request: StopRequest | None = None) -> Dataset | None:
    script, config = parse(argv)
    if index:
        config = RankOne(config)  # type: ignore[assignment]
    return rows_module.tokenised_rows(script, config, request or StopRequest(), argv)


class RankOne:
    """A configuration as the second process sees it."""

    process_index = 1

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def test_ranks_share_one_folder_and_a_second_run_takes_it(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = arguments(inputs, tmp_path / "out")
    second: list[Dataset | None] = []
    waiting = threading.Thread(target=lambda: second.append(ask(argv, index=1)))
    waiting.start()
    first = ask(argv)
    waiting.join(60)
    assert first is not None
    assert second[0] is not None
    assert first.to_list() == second[0].to_list()
    (facts,) = (tmp_path / "out" / "tokenised").glob("*/facts.json")
    made = facts.stat().st_mtime_ns
    assert "tokenising 40 rows" in capfd.readouterr().out
    assert ask(argv) is not None
    assert facts.stat().st_mtime_ns == made
    assert "tokenised before" in capfd.readouterr().out
    assert not list((tmp_path / "out" / "tokenised").glob("*.alive"))


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


def tokenising() -> list[psutil.Process]:
    """The processes that this one started to tokenise, and that still run."""
    found = []
    for child in psutil.Process().children():
        try:
            if "harness.compute.train.rows.tokenise" in child.cmdline():
                found.append(child)
        except (psutil.ZombieProcess, psutil.NoSuchProcess):
            continue  # it has ended, or is some other test's that nobody has waited for
    return found


def test_a_process_that_dies_is_an_error_and_leaves_nothing_half_done(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = arguments(inputs, tmp_path / "out")
    ended = threading.Event()

    def kill_it() -> None:
        while not ended.is_set():
            for child in tokenising():
                child.kill()
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(TrainingError, match=r"exit code -9"):
        ask(argv)
    ended.set()
    killer.join()
    assert not list((tmp_path / "out").glob("tokenised/*/facts.json"))
    assert ask(argv) is not None  # and the next start makes them
    assert not list((tmp_path / "out" / "tokenised").glob(".*"))


def test_a_silent_rank_zero_is_noticed(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "START_S", 0.5)
    with pytest.raises(TrainingError, match="rank 0 got no row done"):
        ask(arguments(inputs, tmp_path / "out"), index=1)


@pytest.mark.parametrize("index", [0, 1])
def test_told_to_stop_it_ends_at_once(inputs: Path, tmp_path: Path, index: int) -> None:
    request = StopRequest()
    request.received = 12
    began = time.monotonic()
    assert ask(arguments(inputs, tmp_path / "out"), index, request) is None
    assert time.monotonic() - began < 20
    assert tokenising() == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], "row 2: no messages"),
        ([{"role": "user", "content": "only a question"}], "row 2: no assistant token"),
        ([{"role": "wizard", "content": "x"}, {"role": "assistant", "content": "y"}], "row 2: "),
    ],
    ids=["empty", "no-assistant", "unknown-role"],
)
def test_a_row_that_cannot_be_trained_on_is_named(
    inputs: Path, tmp_path: Path, bad: list[dict[str, str]], words: str
) -> None:
    good = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    data = tmp_path / "data"
    Dataset.from_dict({"messages": [good, good, bad, good]}).save_to_disk(data)
    argv = arguments(inputs, tmp_path / "out")
    argv[argv.index("--dataset_name") + 1] = str(data)
    script, config = parse(argv)
    if bad and bad[0]["role"] == "wizard":
        # ChatML writes any role; what then is trained is the assistant's turn, as asked.
        tokenise.make(script, config)
        return
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            ask(argv, index=1)
        except UserError as error:
            waiting.append(error)

    second = threading.Thread(target=wait)
    second.start()
    with pytest.raises(UserError, match=words):
        ask(argv)  # the reason comes from the process that tokenises
    second.join(10)
    assert words in str(waiting[0])
    assert not list((tmp_path / "out" / "tokenised").glob(".*"))


def test_rows_that_are_all_cut_away_are_an_error(inputs: Path, tmp_path: Path) -> None:
    script, config = parse(arguments(inputs, tmp_path / "out", "--max_length", "8"))
    with pytest.raises(UserError, match="no row is left to train on"):
        tokenise.make(script, config)


@pytest.mark.parametrize("option", [("--tf32", "True"), ("--fp16", "True"), ("--bf16", "True")])
def test_what_only_concerns_the_device_is_not_asked_of_the_cpu(
    inputs: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    argv = [*arguments(inputs, tmp_path), *option, *rows_module.OF_NO_DEVICE]
    config = parse(argv)[1]
    assert not (config.tf32 or config.fp16 or config.bf16)


def test_the_child_asks_for_no_backend(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    config = parse(arguments(inputs, tmp_path, "--ddp_backend", "gloo"))[1]
    assert (config.ddp_backend, config.world_size) == (None, 1)


def test_rows_cannot_be_left_unprepared(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dataset_kwargs: cannot be set"):
        parse(arguments(inputs, tmp_path, "--dataset_kwargs", '{"skip_prepare_dataset": true}'))


def test_the_child_takes_part_in_no_group() -> None:
    env = rows_module.child_environment(os.environ | {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0",
                                                      "MASTER_ADDR": "x", "PMI_SIZE": "2", "HF_HOME": "/h"})  # fmt: skip
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "PMI_SIZE"} & env.keys()
    assert (env["HF_HOME"], env["CUDA_VISIBLE_DEVICES"]) == ("/h", "")
