"""`python -m harness grade`: saved answers graded again, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.prepare import prepare_benchmark
from harness.compute.evaluate.regrade.grade import graded_path
from tests.support import harness, shared_data

pytestmark = pytest.mark.long

pytest.importorskip("math_verify", reason="needs the extra `eval`")
DATA = shared_data()
needs_data = pytest.mark.skipif(DATA is None, reason="no shared benchmark data here")
ANSWER = ("predicted_answer", "symbolic_correct")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    for name in ("gsm8k", "mmlu"):
        prepare_benchmark(name, folder, DATA)
    return folder


def grade(folder: Path, *argv: str, code: int = 0) -> str:
    done = harness("grade", *argv, "--set-site", f"benchmarks_dir={folder}")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def right(n: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"gsm8k/{n}", "question": f"own question {n}", "response": f"\\boxed{{{n}}}",
            "reference": {"expected_answer": n}, **fields}  # fmt: skip


@needs_data
@pytest.mark.parametrize("with_data", [True, False])
@pytest.mark.parametrize(
    ("name", "fields"),
    [("gsm8k", ANSWER), ("mmlu", ANSWER), ("ifeval", ("strict_eval", "loose_eval"))],
)
def test_every_parity_row_gets_the_grade_of_nemo_skills(
    name: str, fields: tuple[str, ...], with_data: bool, tmp_path: Path, prepared: Path
) -> None:
    if name == "ifeval":
        pytest.importorskip("nltk", reason="nltk is not installed")
        pytest.importorskip("langdetect", reason="langdetect is not installed")
    assert DATA is not None
    answers = tmp_path / f"{name}.jsonl"
    shutil.copy(DATA / "parity" / f"{name}.jsonl", answers)
    grade(prepared if with_data else tmp_path / "none", name, str(answers))
    theirs, ours = rows_of(answers), rows_of(tmp_path / f"{name}.graded.jsonl")
    assert len(ours) == len(theirs)
    for mine, given in zip(ours, theirs, strict=True):
        assert {k: v for k, v in mine.items() if k != "grade"} == {
            k: v for k, v in given.items() if k != "grade"
        }
        assert {f: mine["grade"][f] for f in fields} == {f: given["grade"][f] for f in fields}
        assert set(mine["grade"]) == set(fields)
    metrics = json.loads((tmp_path / f"{name}.graded.jsonl.metrics.json").read_text())
    assert metrics[name]["pass@1"]["num_entries"] == len(theirs)


@needs_data
@pytest.mark.parametrize("checkpoint", ["checkpoint-500", "checkpoint-1500"])
@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "ifeval"])
def test_nemo_skills_own_output_files_get_their_own_grades(
    name: str, checkpoint: str, tmp_path: Path
) -> None:
    assert DATA is not None
    folder = DATA / "nemo_skills_eval_tree" / checkpoint / "eval-results" / name
    files = sorted(folder.glob("output*.jsonl"))
    own = [shutil.copy(file, tmp_path / file.name) for file in files]
    printed = grade(tmp_path / "none", name, *map(str, own))
    for path in map(Path, own):
        for row in rows_of(path.with_name(path.name.replace(".jsonl", ".graded.jsonl"))):
            for field, value in row["grade"].items():
                if isinstance(value, dict):
                    assert value.items() <= row[field].items()
                else:
                    assert value == row[field]
    assert ("pass@2/symbolic_correct" in printed) == (len(files) == 2)
    if len(files) == 2:
        metrics = json.loads((tmp_path / "output-rs0.graded.jsonl.metrics.json").read_text())
        assert list(metrics["gsm8k"]) == ["pass@1", "pass@2", "pass@1[avg-of-2]", "majority@2"]


@needs_data
def test_an_id_of_another_split_or_numbering_is_not_taken_for_ours(
    tmp_path: Path, prepared: Path
) -> None:
    # gsm8k/0 of the test split asks something else and answers 18.
    write(tmp_path / "a.jsonl", [right(0)])
    grade(prepared, "gsm8k", str(tmp_path / "a.jsonl"))
    assert rows_of(tmp_path / "a.graded.jsonl")[0]["grade"]["symbolic_correct"] is True
    # mmlu's numbers count over all subjects in some files and within a subject in ours.
    other = {"id": "mmlu/anatomy/1", "question": "Which?\n\nA) a\nB) b\nC) c\nD) d",
             "reference": "D", "response": "Answer: D"}  # fmt: skip
    write(tmp_path / "b.jsonl", [other])
    grade(prepared, "mmlu", str(tmp_path / "b.jsonl"))
    assert rows_of(tmp_path / "b.graded.jsonl")[0]["grade"]["symbolic_correct"] is True


def test_each_file_has_its_graded_rows_in_a_place_of_their_own() -> None:
    files = [Path("x") / name for name in ("a", "a.jsonl", "a.json", "b.jsonl", "a.jsonl.jsonl")]
    assert len({*map(graded_path, files), *files}) == 2 * len(files)
    assert graded_path(Path("x/a.jsonl")) == Path("x/a.graded.jsonl")


@needs_data
def test_an_id_alone_is_enough_where_the_item_is_prepared(tmp_path: Path, prepared: Path) -> None:
    write(tmp_path / "a.jsonl", [{"id": "gsm8k/0", "response": "\\boxed{18}"}])
    grade(prepared, "gsm8k", str(tmp_path / "a.jsonl"), "-o", str(tmp_path / "out" / "g.jsonl"))
    assert rows_of(tmp_path / "out" / "g.jsonl")[0]["grade"]["symbolic_correct"] is True
    assert (tmp_path / "out" / "g.jsonl.metrics.json").is_file()
    told = grade(tmp_path / "none", "gsm8k", str(tmp_path / "a.jsonl"), code=2)
    assert "a.jsonl:1: 'gsm8k/0' is not in the prepared gsm8k" in told
    questions = [item["question"] for item in rows_of(prepared / "gsm8k.jsonl")[:2]]
    write(tmp_path / "c.jsonl", [{"id": "gsm8k/0", "question": questions[1], "response": ""}])
    told = grade(prepared, "gsm8k", str(tmp_path / "c.jsonl"), code=2)
    assert "its id is gsm8k/0's and its question gsm8k/1's" in told


def test_odd_rows_are_graded_and_come_back_whole(tmp_path: Path) -> None:
    odd = [
        right(0, response=None),
        right(1, extra={"kept": [1, None]}, grade="old"),
        right(2, response="half a pair \ud83d \u2028 \\boxed{2}"),
        {"response": "\\boxed{3}", "reference": 3},
        {"id": "gsm8k/9", "reference": {"expected_answer": 4}, "error": "Timeout: late"},
        right(2),
    ]
    answers = write(tmp_path / "a.jsonl", odd)
    answers.write_bytes(b"\xef\xbb\xbf" + answers.read_bytes() + b"\n  \n")
    grade(tmp_path / "none", "gsm8k", str(answers))
    graded = rows_of(tmp_path / "a.graded.jsonl")
    assert [row["grade"]["symbolic_correct"] for row in graded] == [
        False, True, True, True, False, True,
    ]  # fmt: skip
    assert graded[1]["extra"] == {"kept": [1, None]}
    assert graded[2]["response"] == odd[2]["response"]
    metrics = json.loads((tmp_path / "a.graded.jsonl.metrics.json").read_text())
    assert metrics["gsm8k"]["pass@1"]["num_entries"] == 6
    assert metrics["gsm8k"]["pass@1"]["symbolic_correct"] == pytest.approx(400 / 6)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{torn", "a.jsonl:2: not JSON"),
        ("[1]", "a.jsonl:2: an object is expected"),
        ('{"id": "gsm8k/1", "reference": 1}', "a.jsonl:2: neither `response` nor `generation`"),
        ('{"response": 5, "reference": 1}', "a.jsonl:2: response is int"),
        ('{"id": "gsm8k/1", "response": "x"}', "a.jsonl:2: 'gsm8k/1' is not in the prepared"),
        ("[" * 100_000, "a.jsonl:2: not JSON"),
    ],
)
def test_a_row_that_cannot_be_graded_is_told_and_nothing_is_written(
    tmp_path: Path, line: str, words: str
) -> None:
    answers = write(tmp_path / "a.jsonl", [right(0)])
    answers.write_text(answers.read_text() + line + "\n")
    assert words in grade(tmp_path / "none", "gsm8k", str(answers), code=2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_files_that_are_no_answers_are_told(tmp_path: Path) -> None:
    answers, none = write(tmp_path / "a.jsonl", [right(0)]), tmp_path / "none"
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bytes.jsonl").write_bytes(b'{"response": "\xff"}\n')
    other = write(tmp_path / "b.jsonl", [right(1)])
    for words, *argv in (
        ("cannot be read", "gsm8k", str(tmp_path / "missing.jsonl")),
        ("no answers in it", "gsm8k", str(tmp_path / "empty.jsonl")),
        ("bytes.jsonl:1: not UTF-8", "gsm8k", str(tmp_path / "bytes.jsonl")),
        ("did you mean 'gsm8k'", "gms8k", str(answers)),
        ("graded by a judge", "arena-hard", str(answers)),
        ("python -m harness prepare human-eval", "human-eval", str(answers)),
        ("would overwrite", "gsm8k", str(answers), "-o", str(answers)),
        ("given twice", "gsm8k", str(answers), str(answers)),
        ("does not answer the same items", "gsm8k", str(answers), str(other)),
        ("--output names one file", "gsm8k", str(answers), str(other), "-o", "x"),
        ("cannot be written", "gsm8k", str(answers), "-o", "/proc/none/x.jsonl"),
    ):
        assert words in grade(none, *argv, code=2), argv
