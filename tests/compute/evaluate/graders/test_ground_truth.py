"""Expected outputs of code benchmarks: computed once, found again, whole or not at all."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.graders.ground_truth import (
    prepare_ground_truth,
    read_index,
    suite_limit_s,
)
from harness.errors import EvaluationError, ResultError

TASK = {
    "task_id": "HumanEval/0",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "entry_point": "double",
    "base_input": [[1], [2]],
    "plus_input": [[3]],
    "atol": 0,
}


@pytest.fixture
def evalplus() -> None:
    pytest.importorskip("evalplus", reason="evalplus is not installed")


def tasks(folder: Path, *changes: dict[str, Any]) -> Path:
    path = folder / "it's ü.jsonl"
    rows = [{**TASK, "task_id": f"HumanEval/{n}", **change} for n, change in enumerate(changes)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.usefixtures("evalplus")
def test_each_task_has_a_file_with_what_its_reference_gave(tmp_path: Path) -> None:
    folder = prepare_ground_truth("humaneval", tasks(tmp_path, {}, {}), tmp_path / "new" / "cache")
    index = read_index(folder, "humaneval")
    assert list(index) == ["HumanEval/0", "HumanEval/1"]
    assert index["HumanEval/1"]["prompt"] == TASK["prompt"]
    assert index["HumanEval/1"]["limits_s"] == {"base": 62.0, "plus": 62.0}
    with gzip.open(folder / index["HumanEval/1"]["file"]) as stream:
        truth = pickle.load(stream)
    assert (truth["entry_point"], truth["atol"]) == ("double", 0)
    assert (truth["base"]["inputs"], truth["base"]["expected"]) == ([[1], [2]], [2, 4])
    assert (truth["plus"]["inputs"], truth["plus"]["expected"]) == ([[3]], [6])
    assert len(truth["base"]["times"]) == 2


@pytest.mark.usefixtures("evalplus")
def test_the_folder_is_of_the_data_and_not_of_the_file(tmp_path: Path) -> None:
    plain = tasks(tmp_path, {})
    packed = tmp_path / "named as it likes"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    folder = prepare_ground_truth("humaneval", plain, tmp_path)
    made = (folder / "index.json").stat().st_mtime_ns
    assert prepare_ground_truth("humaneval", packed, tmp_path) == folder
    assert (folder / "index.json").stat().st_mtime_ns == made
    other = tasks(tmp_path, {"atol": 1e-6})
    assert prepare_ground_truth("humaneval", other, tmp_path) != folder


@pytest.mark.usefixtures("evalplus")
def test_two_at_a_time_leave_one_whole_folder_and_no_scrap(tmp_path: Path) -> None:
    meeting, cache = tmp_path / "meeting", tmp_path / "cache"
    meeting.mkdir()
    waits = (  # the reference solution: each waits until the other one runs it, too
        "    import pathlib, threading, time\n"
        f"    meeting, end = pathlib.Path({str(meeting)!r}), time.monotonic() + 10\n"
        "    (meeting / str(threading.get_ident())).touch()\n"
        "    while len(list(meeting.iterdir())) < 2 and time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
        "    return 2 * x\n"
    )
    source = tasks(tmp_path, {"canonical_solution": waits}, {})
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(prepare_ground_truth("humaneval", source, cache))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(list(meeting.iterdir())) == 2
    assert [path.name for path in cache.iterdir()] == [found[0].name] == [found[1].name]
    assert len(read_index(found[0], "humaneval")) == 2


@pytest.mark.usefixtures("evalplus")
def test_half_a_folder_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    source = tasks(tmp_path, {}, {"canonical_solution": "    raise KeyError(x)\n"})
    with pytest.raises(KeyError):
        prepare_ground_truth("humaneval", source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.usefixtures("evalplus")
def test_a_file_of_something_else_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    source = tmp_path / "tasks.jsonl"
    source.write_text(json.dumps({k: v for k, v in TASK.items() if k != "plus_input"}))
    with pytest.raises(EvaluationError, match="humaneval has no 'plus_input': not an EvalPlus"):
        prepare_ground_truth("humaneval", source, tmp_path / "cache")


def test_without_evalplus_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evalplus.data.mbpp", None)
    with pytest.raises(
        EvaluationError, match=r"need evalplus: pip install 'posttrain-harness\[code\]'"
    ):
        prepare_ground_truth("humaneval", tasks(tmp_path, {}), tmp_path / "cache")


@pytest.mark.parametrize("content", [None, "", "{torn"])
def test_no_index_is_told_with_the_command_that_makes_it(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(ResultError, match=r"no prepared ground truth in .*run `harness prepare`"):
        read_index(tmp_path, "humaneval")


def test_ground_truth_of_another_data_set_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"dataset": "humaneval", "tasks": {}}')
    assert read_index(tmp_path, "humaneval") == {}
    with pytest.raises(ResultError, match="is the ground truth of humaneval, not mbpp"):
        read_index(tmp_path, "mbpp")


def test_a_slow_reference_gives_its_suite_more_time() -> None:
    assert suite_limit_s(0.0) == suite_limit_s(15.0) == 62.0
    assert suite_limit_s(30.0) == 122.0
