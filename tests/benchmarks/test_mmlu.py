"""mmlu from its authors' archive, whole or in part."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.benchmarks import mmlu
from harness.benchmarks.prepare import open_items, prepare
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError, UserError
from harness.runs.paths import CellPaths
from tests.support import shared_data


def archive(**subjects: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for subject, text in subjects.items():
            info = tarfile.TarInfo(f"data/test/{subject}_test.csv")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_a_question_is_asked_and_sorted_as_nemo_skills_does() -> None:
    (item,) = mmlu.items(archive(anatomy='"Which, of\nthese?",a,"b, c",d,e,B\n'))
    assert item == {
        "id": "mmlu/anatomy/0",
        "question": "Which, of\nthese?\n\nA) a\nB) b, c\nC) d\nD) e",
        "expected_answer": "B",
        "subtopic": "anatomy",
        "subset_for_metrics": "health",
    }
    assert BENCHMARKS["mmlu"].user_turn(item) == (
        "Answer the following multiple choice question. The last line of your response should be "
        "in the following format: 'Answer: \\boxed{A/B/C/D}' (e.g. 'Answer: \\boxed{A}').\n\n"
        + item["question"]
    )
    assert mmlu.SUBJECTS == 57


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "cannot be read"),
        (archive(), "no data/test/"),
        (archive(alchemy="q,a,b,c,d,A\n"), "unknown subject 'alchemy'"),
        (archive(anatomy="q,a,b,c,d\n"), "anatomy row 0 is no question"),
        (archive(anatomy="q,a,b,c,d,E\n"), "anatomy row 0 is no question"),
    ],
)
def test_what_is_no_archive_of_questions_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        mmlu.items(content)


def test_both_names_of_the_archive_are_found(tmp_path: Path) -> None:
    for name in ("data.tar", "mmlu_data_1_subject.tar"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(archive(anatomy="q,a,b,c,d,A\n"))
        prepare("mmlu", tmp_path / f"out-{name}", tmp_path / name)
    with pytest.raises(UserError, match="does not exist"):
        prepare("mmlu", tmp_path / "out", tmp_path)


@pytest.mark.skipif(shared_data() is None, reason="no shared benchmark data here")
def test_five_subjects_are_counted_as_what_they_are(tmp_path: Path) -> None:
    prepare("mmlu", tmp_path, shared_data())
    items = open_items(tmp_path, "mmlu")
    assert len({item["subtopic"] for item in items}) == 5
    assert 0 < len(items) < 14042
    evaluator = BuiltinEvaluator(
        BENCHMARKS["mmlu"],
        tmp_path,
        CellPaths(tmp_path / "c"),
        1,
        EvaluationSpec(benchmarks=("mmlu",)),
    )
    assert evaluator.inputs()["items"] == len(items)
    assert evaluator.inputs()["items_of_benchmark"] == 14042
    assert evaluator._warnings() == [f"only {len(items)} of 14042 items are prepared"]
