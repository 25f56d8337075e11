"""Rows tokenised by one rank for all: shared, reused, and never waited for in vain."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from datasets import Dataset

from harness.compute.train.arguments import TrainingConfig, parse
from harness.compute.train.rows import tokenise
from harness.compute.train.rows import tokenised as rows_module
from harness.compute.train.stop import StopRequest
from harness.errors import TrainingError, UserError

from .tokenise_arguments import arguments

pytestmark = pytest.mark.long

_PARSING = threading.Lock()
"""TRL's parser changes the fields of its dataclasses while it is built: one thread at a time."""


def ask(argv: list[str], index: int = 0, request: StopRequest | None = None) -> Dataset | None:
    with _PARSING:
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


def tokenising() -> list[psutil.Process]:
    """The processes that this one started to tokenise, and that still run."""
    found = []
    for child in psutil.Process().children():
        try:
            if "harness.compute.train.rows.tokenise" in " ".join(child.cmdline()):
                found.append(child)
        except (psutil.ZombieProcess, psutil.NoSuchProcess):
            continue  # it has ended, or is some other test's that nobody has waited for
    return found


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


@pytest.mark.parametrize("option", [("--tf32", "True"), ("--fp16", "True"), ("--bf16", "True")])
def test_what_only_concerns_the_device_is_not_asked_of_the_cpu(
    inputs: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    argv = [*arguments(inputs, tmp_path), *option, *rows_module.OF_NO_DEVICE]
    config = parse(argv)[1]
    assert not (config.tf32 or config.fp16 or config.bf16)


def test_the_child_takes_part_in_no_group() -> None:
    env = rows_module.child_environment(os.environ | {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0",
                                                      "MASTER_ADDR": "x", "PMI_SIZE": "2", "HF_HOME": "/h"})  # fmt: skip
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "PMI_SIZE"} & env.keys()
    assert (env["HF_HOME"], env["CUDA_VISIBLE_DEVICES"]) == ("/h", "")
