"""The resume file after a crash: what can be read is kept, and only the rest is asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.answers.file import Answers, chunks
from harness.errors import ResultError


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"gsm8k/{number}", "generation": f"So \\boxed{{{number}}}."} | more


def lines(*rows: Any) -> bytes:
    return b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partial-rs0.jsonl"


@pytest.mark.parametrize(
    "damage",
    [
        b"\x00" * 73 + b"\n",
        b'{"id": "gsm8k/5", "gener\n',
        b'{"id": "gsm8k/5", "generation": "\xff"}\n',
        b'{"id": "gsm8k/5"}\n',
        b'{"id": "gsm8k/5", "generation": 5}\n',
        b'{"id": "gsm8k/5", "generation": null}\n',
        b'{"id": 5, "generation": "a"}\n',
        b'{"id": "gsm8k/5", "error": null}\n',
        b'{"id": "gsm8k/5", "generation": "a", "num_generated_tokens": "20"}\n',
        b'{"id": "gsm8k/5", "generation": "a", "generations": [1]}\n',
        b'["gsm8k/5"]\n',
    ],
)
def test_a_damaged_line_in_the_middle_costs_that_line_alone(path: Path, damage: bytes) -> None:
    text = lines(*map(row, range(5)), damage, *map(row, range(6, 20)))
    path.write_bytes(text)
    answers = Answers(path)
    assert len(answers) == 19 and "gsm8k/5" not in answers
    assert answers.damaged == 1
    assert path.read_bytes() == text
    answers.append(row(5))
    answers.close()
    assert path.read_bytes().startswith(text)
    again = Answers(path)
    ids = [f"gsm8k/{n}" for n in range(20)]
    assert list(again.rows(ids)) == list(answers.rows(ids)) == list(map(row, range(20)))


def test_of_an_item_with_several_rows_the_last_answer_counts(path: Path) -> None:
    path.write_bytes(lines(row(1), row(0), row(1, generation="later"), row(0, error="HTTP 400")))
    answers = Answers(path)
    assert [r["generation"] for r in answers.rows(["gsm8k/0", "gsm8k/1"])] == [
        row(0)["generation"], "later",
    ]  # fmt: skip
    assert answers.damaged == 0


def test_rows_with_an_error_are_asked_again_unless_they_are_settled(path: Path) -> None:
    failed = {"id": "gsm8k/1", "error": "HTTP 400"}
    path.write_bytes(lines(row(0), failed, failed))
    assert "gsm8k/1" not in Answers(path)
    settled = Answers(path, settled=True)
    assert list(settled.rows(["gsm8k/1"])) == [failed]
    path.write_bytes(lines(row(0), failed, row(1), failed))
    assert list(Answers(path, settled=True).rows(["gsm8k/1"])) == [row(1)]


def test_an_item_without_an_answer_is_an_error(path: Path) -> None:
    with pytest.raises(ResultError, match=r"no answer to gsm8k/0"):
        list(Answers(path).rows(["gsm8k/0"]))
    path.write_bytes(lines(row(0)))
    with pytest.raises(ResultError, match=r"no answer to gsm8k/1"):
        list(Answers(path).rows(["gsm8k/0", "gsm8k/1"]))


def test_chunks_are_whole_but_the_last() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
