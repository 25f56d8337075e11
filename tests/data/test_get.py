"""Downloading a dataset, from a small server that speaks the Hub's protocol (the Hub is not here)."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import Dataset, load_from_disk

from .hub import SHA, Hub, hub

pytestmark = pytest.mark.long

PROJECT = ROOT
ROWS = 3000


@pytest.fixture
def server() -> Iterator[Hub]:
    chats = [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": os.urandom(40).hex()}]
             for i in range(ROWS)]  # fmt: skip
    files = {"README.md": b"# Chats\n"}
    for number in range(2):
        parquet = io.BytesIO()
        half = chats[number * ROWS // 2 : (number + 1) * ROWS // 2]
        Dataset.from_dict({"messages": half}).to_parquet(parquet)
        files[f"data/train-0000{number}-of-00002.parquet"] = parquet.getvalue()
    with hub("lab/chats", files) as running:
        yield running


def get(server: Hub, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_TOKEN": "hf_a_secret",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "harness", "data", "get", *argv],
        cwd=PROJECT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_dataset_comes_once_and_stays(server: Hub, tmp_path: Path) -> None:
    target = tmp_path / "chats"
    done = get(server, tmp_path / "hf", "lab/chats", str(target))
    assert done.returncode == 0, done.stderr
    assert f"train: {ROWS:,} rows; columns messages" in done.stdout
    assert len(load_from_disk(str(target))["train"]) == ROWS
    assert json.loads((target / "harness_source.json").read_text())["sha"] == SHA
    assert "hf_a_secret" not in done.stdout + done.stderr
    asked = len(server.asked)
    again = get(server, tmp_path / "hf", "lab/chats", str(target))
    assert again.returncode == 0
    assert "holds lab/chats already" in again.stderr
    assert len(server.asked) == asked
    other = get(server, tmp_path / "hf", "lab/chats", str(target), "--split", "train")
    assert other.returncode == 2
    assert "holds something else" in other.stderr


def test_an_interrupted_download_leaves_nothing_half_done_and_goes_on(
    server: Hub, tmp_path: Path
) -> None:
    target = tmp_path / "chats"
    second = "data/train-00001-of-00002.parquet"
    server.break_after, server.breaks = len(server.files[second]) // 2, second
    broken = get(server, tmp_path / "hf", "lab/chats", str(target), "--split", "train")
    assert broken.returncode == 1, broken.stderr
    assert "broke off" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert not target.exists()
    server.break_after, server.sent = None, 0
    done = get(server, tmp_path / "hf", "lab/chats", str(target), "--split", "train")
    assert done.returncode == 0, done.stderr
    assert len(load_from_disk(str(target))) == ROWS
    first = server.files["data/train-00000-of-00002.parquet"]
    assert server.sent < len(first) + len(server.files[second]), "the first file was fetched again"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lab/chatz"], "the Hub has no such dataset"),
        (["lab/chats", "--revision", "v9"], "no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have(
    server: Hub, tmp_path: Path, argv: list[str], words: str
) -> None:
    done = get(server, tmp_path / "hf", argv[0], str(tmp_path / "out"), *argv[1:])
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gated_dataset_and_a_hub_that_is_not_there(server: Hub, tmp_path: Path) -> None:
    server.gated = True
    gated = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "out"))
    assert gated.returncode == 2
    assert "gated: accept its terms" in gated.stderr
    server.url = "http://127.0.0.1:9"
    away = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "out"))
    assert away.returncode == 2, away.stderr
    assert "cannot be reached" in away.stderr


def test_a_folder_of_something_else_is_never_replaced(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    done = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "not from here" in done.stderr
    assert (tmp_path / "out" / "thesis.tex").exists()


HERMES = [{"conversations": [{"from": "human", "value": f"q{i}"}, {"from": "gpt", "value": "a"}],
           "system_prompt": "Speak like a robot." if i else "", "source": "x"} for i in range(3)]  # fmt: skip
ULTRA = [{"prompt": f"q{i}", "prompt_id": str(i), "messages": [
    {"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]} for i in range(3)]  # fmt: skip


def parquet(rows: list[dict[str, object]]) -> bytes:
    file = io.BytesIO()
    Dataset.from_list(rows).to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(("rows", "dropped"), [(HERMES, "source 3"), (ULTRA, "prompt_id 3")],
                         ids=["hermes", "ultrachat"])  # fmt: skip
def test_chats_of_another_shape_end_ready_to_train(
    rows: list[dict[str, object]], dropped: str, tmp_path: Path
) -> None:
    target = tmp_path / "chats"
    names = [f"data/{split}-00000-of-00001.parquet" for split in ("train_sft", "test_sft")]
    with hub("lab/chats", {name: parquet(rows) for name in names}) as server:
        done = get(server, tmp_path / "hf", "lab/chats", str(target))
        raw = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "raw"), "--as-is")
    assert done.returncode == 0, done.stderr
    assert "test_sft: 3 rows, train_sft: 3 rows; columns messages;" in done.stdout
    assert "dropped: " in done.stderr and dropped.replace("3", "6") in done.stderr
    made = load_from_disk(str(target))["train_sft"]
    turns = [[turn["content"] for turn in row] for row in made["messages"]]
    first = ["Speak like a robot."] if rows is HERMES else []
    assert turns == [["q0", "a"], [*first, "q1", "a"], [*first, "q2", "a"]]
    assert raw.returncode == 0, raw.stderr
    assert load_from_disk(str(tmp_path / "raw"))["test_sft"].column_names == list(rows[0])


def test_bad_chats_stop_it_with_their_row_and_other_data_is_kept_as_it_is(tmp_path: Path) -> None:
    bad = [*ULTRA, {"prompt": "q", "prompt_id": "9", "messages": []}]
    with hub("lab/chats", {"train.parquet": parquet(bad)}) as server:
        done = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "chats"))
        kept = get(server, tmp_path / "hf", "lab/chats", str(tmp_path / "chats"), "--skip-bad")
    assert done.returncode == 2, done.stderr
    assert "train: row 4: messages is empty" in done.stderr
    assert kept.returncode == 0 and "train: 3 rows" in kept.stdout
    with hub("lab/text", {"train.parquet": parquet([{"text": "x"}])}) as server:
        other = get(server, tmp_path / "hf", "lab/text", str(tmp_path / "text"))
    assert other.returncode == 0 and "columns text" in other.stdout
    assert "no chats (columns text): kept as it is" in other.stderr
