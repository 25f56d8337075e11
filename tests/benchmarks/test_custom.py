"""A benchmark of the user's own: prepared once, then known like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.custom import register_prepared
from harness.benchmarks.prepare import is_prepared, open_items
from harness.benchmarks.registry import BENCHMARKS, parse
from harness.compute.evaluate.prepare import prepare_own
from harness.errors import UserError
from tests.support import harness
from tests.test_cli import User

DEFINITION = """\
data: rows.jsonl
prompt: "Answer inside \\\\boxed{{}}.\\n\\n{problem}"
grader: math
fields: {expected_answer: solution}
"""
ROWS = [{"problem": f"What is {n} + 1? Use {{braces}}.", "solution": n + 1} for n in range(4)]


@pytest.fixture(autouse=True)
def forget() -> Any:
    """What a test registers is not known to the next."""
    before = dict(BENCHMARKS)
    yield
    BENCHMARKS.clear()
    BENCHMARKS.update(before)


def define(folder: Path, text: str = DEFINITION, rows: Any = ROWS, name: str = "plus") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, *words: str, **given: Any) -> None:
    with pytest.raises(UserError) as caught:
        prepare_own(define(folder / "own", **given), folder / "data")
    for word in words:
        assert word in str(caught.value)
    assert not (folder / "data" / "plus.jsonl").exists()


def test_it_is_prepared_and_known_to_every_process_that_knows_the_folder(tmp_path: Path) -> None:
    prepare_own(define(tmp_path / "own"), tmp_path / "data")
    BENCHMARKS.pop("plus")
    register_prepared(tmp_path / "data")
    plus = parse("plus:2").benchmark
    assert (plus.items, plus.headline, plus.grader) == (4, "symbolic_correct", "math")
    assert is_prepared(tmp_path / "data", "plus")
    items = open_items(tmp_path / "data", "plus")
    assert items[3]["id"] == "plus/3"
    assert items[3]["expected_answer"] == 4
    # Braces of the data are left alone; those of the prompt are written twice.
    assert plus.user_turn(items[3]) == "Answer inside \\boxed{}.\n\nWhat is 3 + 1? Use {braces}."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DEFINITION.replace("boxed{{}}", "boxed{}"), ("plus.yaml:2", "prompt", "{{ }}")),
        (DEFINITION.replace("{problem}", "{problem"), ("plus.yaml:2", "{{ }}")),
        (DEFINITION.replace("{problem}", "{problem.__class__}"), ("not the name of a field",)),
        (DEFINITION.replace("{problem}", "{problem!r}"), ("not the name of a field",)),
        (DEFINITION.replace("{problem}", "nothing"), ("no field of the item",)),
        (DEFINITION.replace("{problem}", "{problen}"), ("rows.jsonl:1", "did you mean 'problem'?")),
        (DEFINITION.replace("solution}", "solutoin}"), ("rows.jsonl:1", "mean 'solution'?")),
        (DEFINITION.replace("grader: math", "grader: maths"), ("plus.yaml:3", "'math'")),
        (
            DEFINITION + "headline: symbolic_corect\n",
            (
                "plus.yaml:5: headline",
                "did you mean 'symbolic_correct'?",
            ),
        ),
        (DEFINITION + "promt: x\n", ("unknown key", "did you mean 'prompt'?")),
        (DEFINITION + "name: gsm8k\n", ("gsm8k is a benchmark already",)),
        (DEFINITION + "name: ../plus\n", ("letters, digits",)),
        (DEFINITION.replace("rows.jsonl", "none.jsonl"), ("none.jsonl: cannot be read",)),
        (
            DEFINITION.replace("rows.jsonl", "~no-such-user/x"),
            ("plus.yaml: data", "there is no such user"),
        ),
        (DEFINITION.replace("rows.jsonl", "."), ("own: cannot be read: Is a directory",)),
        ("grader: math\n", ("data: required",)),
        ("- a list\n", ("a mapping",)),
    ],
)
def test_a_mistake_in_the_definition_is_told(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    refused(tmp_path, *words, text=text)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ("no items",)),
        ([*ROWS, ["a list"]], ("rows.jsonl:5: an object is expected",)),
        ([*ROWS, {"problem": "p"}], ("rows.jsonl:5", "'solution'")),
        ([*ROWS, {"problem": "p", "solution": None}], ("rows.jsonl:5", "'solution'")),
        ([*ROWS, {"problem": "p", "solution": [1]}], ("rows.jsonl:5", "expected_answer is [1]")),
        ([*ROWS, {"problem": "p", "solution": ""}], ("rows.jsonl:5", "expected_answer is ''")),
        (
            [*ROWS, {"problem": "p", "solution": "1", "id": "\ud800"}],
            ("rows.jsonl:5", "id has half"),
        ),
        ([*ROWS, {"problem": "\ud800", "solution": "1"}], ("rows.jsonl:5", "half of a surrogate")),
        ([*ROWS, {"problem": "p", "solution": "1", "turns": 5}], ("rows.jsonl:5", "turns is a")),
        ([*ROWS, {"problem": "p", "solution": "1", "question": 5}], ("question is int",)),
        ([*ROWS, {"problem": "p", "solution": "1", "prompt": [5]}], ("prompt is list",)),
        ([*ROWS, {"problem": "p", "solution": 1e999}], ("rows.jsonl:5", "not JSON: Infinity")),
        ([{**r, "id": "same"} for r in ROWS], ("rows.jsonl:2", "id 'same' is line 1's, too")),
    ],
)
def test_a_mistake_in_the_data_is_told(tmp_path: Path, rows: Any, words: tuple[str, ...]) -> None:
    refused(tmp_path, *words, rows=rows)


def test_data_that_are_not_json_are_told_by_line(tmp_path: Path) -> None:
    path = define(tmp_path / "own")
    with (tmp_path / "own" / "rows.jsonl").open("a") as file:
        file.write("{torn\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:5: not JSON"):
        prepare_own(path, tmp_path / "data")


def test_changed_data_are_not_taken_silently(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare_own(define(tmp_path / "own"), data)
    prepare_own(define(tmp_path / "own"), data)  # the same: nothing happens
    changed = define(tmp_path / "own", rows=ROWS[:3])
    with pytest.raises(UserError, match="--force replaces it"):
        prepare_own(changed, data)
    assert len(open_items(data, "plus")) == 4
    prepare_own(changed, data, force=True)
    assert len(open_items(data, "plus")) == 3


def test_letters_and_instructions_are_checked_too(tmp_path: Path) -> None:
    choice = DEFINITION.replace("math", "multiple_choice")
    refused(tmp_path, "rows.jsonl:1", "a capital letter", text=choice)
    obey = DEFINITION.replace("math", "ifeval")
    rows = [{"problem": "p", "solution": "", "instruction_id_list": ["a:b"], "kwargs": []}]
    refused(tmp_path, "rows.jsonl:1", "of the same length", text=obey, rows=rows)


@pytest.mark.long
def test_the_command_line_prepares_lists_and_grades_it(tmp_path: Path) -> None:
    path = define(tmp_path / "own")
    site = ["--set-site", f"benchmarks_dir={tmp_path / 'data'}"]
    done = harness("prepare", str(path), *site)
    assert done.returncode == 0, done.stderr
    listed = harness("prepare", "--list", *site)
    assert any(
        line.startswith("plus ") and "4 items" in line for line in listed.stdout.splitlines()
    )
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        '{"id": "plus/1", "response": "\\\\boxed{2}"}\n{"id": "plus/2", "response": ""}\n'
    )
    graded = harness("grade", "plus", str(answers), *site, "--json")
    assert graded.returncode == 0, graded.stderr
    assert json.loads(graded.stdout)["plus"]["pass@1"]["symbolic_correct"] == 50.0
    unknown = harness("prepare", "plux", *site)
    assert unknown.returncode == 2
    assert "did you mean 'plus'" in unknown.stderr


@pytest.mark.long
def test_check_and_submit_know_it(tmp_path: Path) -> None:
    user = User(tmp_path)
    define(tmp_path / "own")
    user.spec["evaluation"]["benchmarks"] = ["plus:2"]
    unknown = user.run("check", "spec.yaml")
    assert unknown.returncode == 2
    assert "prepare my-benchmark.yaml" in unknown.stderr
    assert user.run("prepare", "own/plus.yaml").returncode == 0
    planned = user.run("submit", "spec.yaml", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    cells = [c for j in json.loads(planned.stdout)["plan"]["jobs"] for t in j["tasks"] for c in t]
    assert {(c["benchmark"], c["repeats"]) for c in cells} == {("plus", 2)}
