"""Hostile rows are counted over all rows, and named by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.chats.dataset import read_saved_dataset
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding
from harness.preflight.rows.contents import check_rows
from tests.preflight.support import MESSAGE, MESSAGES, Row, saved_dataset, turn


def found(folder: Path, messages: list[Row], kind: Any = MESSAGES, **train: Any) -> list[Finding]:
    saved_dataset(folder / "d", messages=messages, kind=kind)
    spec = TrainSpec(model_name="m", dataset_name=str(folder / "d"), **train)
    return check_rows(spec, read_saved_dataset(folder / "d", "train")).findings


def only(folder: Path, messages: list[Row], **train: Any) -> Finding:
    (finding,) = found(folder, messages, **train)
    return finding


GOOD = [turn() for _ in range(6)]
QUESTION: Row = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize("kind", [MESSAGES, pa.large_list(MESSAGE)], ids=["list", "large_list"])
def test_good_rows_have_no_findings(tmp_path: Path, kind: Any) -> None:
    assert found(tmp_path, GOOD, kind) == []


@pytest.mark.parametrize(
    ("row", "level", "words"),
    [
        (QUESTION, "error", "without an assistant's turn"),
        ([], "error", "empty list of messages"),
        (None, "error", "without any messages"),
        (turn(answer=None), "warning", "empty answer"),
        (turn(answer=""), "warning", "empty answer"),
        (turn(question=""), "warning", "empty message of another role"),
        ([{"role": None, "content": "x"}, *(turn() or [])], "error", "no role"),
        ([*(turn() or []), None], "error", "no role"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Any, level: str, words: str) -> None:
    # Batches of four rows: numbers must count on over them.
    finding = only(tmp_path, [*GOOD, row, *GOOD, row])
    assert (finding.level, finding.place) == (level, "train.dataset_name")
    assert words in finding.message
    assert "2 rows (number 6, 13)" in finding.message
    assert "filter" in finding.cure


def test_many_bad_rows_are_counted_and_the_first_named(tmp_path: Path) -> None:
    finding = only(tmp_path, [QUESTION] * 1200)
    assert "1,200 rows (number 0, 1, 2, 3, 4, …)" in finding.message


def test_without_assistant_only_loss_a_row_needs_no_assistant(tmp_path: Path) -> None:
    assert found(tmp_path, [QUESTION], assistant_only_loss=False) == []


def test_an_answer_that_is_a_tool_call_is_not_empty(tmp_path: Path) -> None:
    call = pa.struct([("name", pa.string())])
    kind = pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(call))])
    )
    row: Row = [
        {"role": "user", "content": "?", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]},
    ]
    assert found(tmp_path / "a", [row], kind) == []
    row = (
        [QUESTION[0], {"role": "assistant", "content": None, "tool_calls": []}] if QUESTION else []
    )
    assert "empty answer" in only(tmp_path / "b", [row], kind=kind).message


def test_unknown_roles_are_collected_for_the_template_to_be_tried_on(tmp_path: Path) -> None:
    rows = [[{"role": "gpt", "content": "x"}, *(turn() or [])], turn()]
    saved_dataset(tmp_path / "d", messages=rows)
    spec = TrainSpec(model_name="m", dataset_name=str(tmp_path / "d"))
    check = check_rows(spec, read_saved_dataset(tmp_path / "d", "train"))
    assert check.unknown_roles == ("gpt",)
    assert check.scans["messages"].roles == {"user": 2, "assistant": 2, "gpt": 1}
    assert check.scans["messages"].turns == {3: 1, 2: 1}


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        (pa.string(), ["hello"], "is string"),
        (pa.list_(pa.string()), [["hello"]], "is a list of string"),
        (pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())])),
         [[{"from": "human", "value": "x"}]], "messages with from, value"),
        (pa.struct([("role", pa.list_(pa.string()))]), [{"role": ["user"]}], "is struct"),
        (pa.list_(pa.struct([("role", pa.int64()), ("content", pa.string())])),
         [[{"role": 1, "content": "x"}]], "roles of type int64"),
        (pa.list_(pa.struct([("role", pa.string()), ("content", pa.int64())])),
         [[{"role": "user", "content": 1}]], "contents of type int64"),
    ],
)  # fmt: skip
def test_columns_of_a_wrong_type_are_named(
    tmp_path: Path, kind: Any, rows: Any, words: str
) -> None:
    finding = only(tmp_path, rows, kind=kind)
    assert finding.level == "error"
    assert words in finding.message
    assert "data convert" in finding.cure


def test_a_sample_is_the_same_for_a_seed_and_holds_the_right_rows(tmp_path: Path) -> None:
    rows = [turn(str(i)) for i in range(50)]
    dataset = read_saved_dataset(saved_dataset(tmp_path / "d", messages=rows), "train")
    sample = dataset.sample(20, 7, ("messages",))
    assert list(sample) == list(dataset.sample(20, 7, ("messages",)))
    assert list(sample) != sorted(sample)
    assert all(row["messages"][0]["content"] == str(number) for number, row in sample.items())
    assert len(dataset.sample(80, 7, ("messages",))) == 50


def test_a_read_only_dataset_is_read(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "d")
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert found_in(folder) == []
    finally:
        folder.chmod(0o755)


def found_in(folder: Path) -> list[Finding]:
    spec = TrainSpec(model_name="m", dataset_name=str(folder))
    return check_rows(spec, read_saved_dataset(folder, "train")).findings
