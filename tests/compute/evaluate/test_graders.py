"""Our graders against the grades that NeMo-Skills (0b012df) gave the same answers, item by item."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.graders import grader_of
from tests.support import shared_data

pytestmark = pytest.mark.skipif(shared_data() is None, reason="no shared benchmark data here")

_ANSWER = ("predicted_answer", "symbolic_correct")
_CODE = ("completion", "is_correct", "is_correct-plus", "base_status", "plus_status")


def _rows(name: str) -> list[dict[str, Any]]:
    data = shared_data()
    assert data is not None
    return [json.loads(line) for line in (data / "parity" / f"{name}.jsonl").open()]


def _assert_agrees(name: str, fields: tuple[str, ...], kind: str, **options: Any) -> None:
    rows = _rows(name)
    items = [{"id": row["id"], "prompt": row["question"], **row["reference"]} for row in rows]
    ours = grader_of(kind, **options).grade(items, [row["response"] for row in rows])
    differences = [
        (row["id"], row["variant"], field, grade[field], row["grade"][field])
        for row, grade in zip(rows, ours, strict=True)
        for field in fields
        if grade[field] != row["grade"][field]
    ]
    assert differences == []


def test_gsm8k_agrees() -> None:
    pytest.importorskip("math_verify", reason="math-verify is not installed")
    _assert_agrees("gsm8k", _ANSWER, "math")


def test_mmlu_agrees() -> None:
    _assert_agrees("mmlu", _ANSWER, "multiple_choice")


def test_ifeval_agrees() -> None:
    nltk = pytest.importorskip("nltk", reason="nltk is not installed")
    pytest.importorskip("langdetect", reason="langdetect is not installed")
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm-eval is not installed")
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        pytest.skip("NLTK's punkt_tab is not in $NLTK_DATA")
    _assert_agrees("ifeval", ("strict_eval", "loose_eval"), "ifeval")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "file"),
    [("human-eval", "humaneval", "HumanEvalPlus"), ("mbpp", "mbpp", "MbppPlus")],
)
def test_code_agrees(name: str, dataset: str, file: str, tmp_path: Path) -> None:
    pytest.importorskip("evalplus", reason="evalplus is not installed")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    from harness.compute.evaluate.graders.ground_truth import prepare_ground_truth

    data = shared_data()
    assert data is not None
    wanted = {row["id"] for row in _rows(name)}
    with gzip.open(data / f"{file}.jsonl.gz", "rt") as lines:
        tasks = [line for line in lines if json.loads(line)["task_id"] in wanted]
    (tmp_path / "tasks.jsonl").write_text("".join(tasks))
    truth = prepare_ground_truth(dataset, tmp_path / "tasks.jsonl", tmp_path)
    _assert_agrees(name, _CODE, f"code:{name}", ground_truth=truth)
