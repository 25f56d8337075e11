"""A benchmark of the user's own as its file defines it: names, braces of the prompt, graders."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.benchmark import BenchmarkFile, prompt_fields
from harness.config.graders import OWN_KINDS
from harness.config.load import load_file
from harness.errors import UserError

GOOD = "data: rows.jsonl\ngrader: math\n"


def definition(folder: Path, text: str) -> BenchmarkFile:
    path = folder / "my-own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_file(BenchmarkFile, path, {"name": path.stem})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        definition(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("prompt", "fields"),
    [
        ("{question}", ["question"]),
        ("{b} {a} {b}\n{ü}", ["b", "a", "ü"]),
        ("Answer in \\boxed{{}}: {problem}", ["problem"]),
        ("{{{x}}}", ["x"]),
        ("plain", []),
        ("{{question}}", []),
        ("", []),
    ],
)
def test_the_fields_of_a_prompt_are_named_once_in_their_order(
    prompt: str, fields: list[str]
) -> None:
    assert prompt_fields(prompt) == fields


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("{}", "{} is not the name of a field"),
        ("{0}", "{0} is not the name of a field"),
        ("{a b}", "{a b} is not the name of a field"),
        ("{a.__class__}", "{a.__class__} is not the name of a field"),
        ("{a[0]}", "{a[0]} is not the name of a field"),
        ("{a!r}", "{a} is not the name of a field"),
        ("{a:>9}", "{a} is not the name of a field"),
        ("{a:{b}}", "{a} is not the name of a field"),
        ("{a", "expected '}'"),
        ("a}", "Single '}'"),
    ],
)
def test_other_braces_are_told_with_the_cure(prompt: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"written twice: \{\{ \}\}$") as caught:
        prompt_fields(prompt)
    assert words in str(caught.value)


def test_what_is_unset_has_its_usual_value(tmp_path: Path) -> None:
    given = definition(tmp_path, GOOD)
    assert (given.name, given.prompt, given.headline) == ("my-own", "{question}", "")
    assert (given.fields, given.licence) == ({}, "")


@pytest.mark.parametrize("grader", OWN_KINDS)
def test_a_grader_that_needs_only_the_items_may_be_taken(tmp_path: Path, grader: str) -> None:
    assert definition(tmp_path, GOOD.replace("math", grader)).grader == grader


@pytest.mark.parametrize("grader", ["code:mbpp", "judge:arena", "Math", ""])
def test_another_grader_shows_those_that_may(tmp_path: Path, grader: str) -> None:
    told = refused(tmp_path, GOOD.replace("math", f"'{grader}'"))
    assert told.startswith("my-own.yaml:2: grader: 'math', ")
    assert told.endswith(f"(got {grader!r})")


@pytest.mark.parametrize("name", ["a", "9", "A-b_c", "x" * 64])
def test_a_name_is_letters_digits_and_dashes(tmp_path: Path, name: str) -> None:
    assert definition(tmp_path, f"name: '{name}'\n{GOOD}").name == name


@pytest.mark.parametrize(
    "name", ["", "-a", "_a", "a b", "a/b", "..", "a.b", "a:4", "ü", "it''s", "x" * 65]
)
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    told = refused(tmp_path, f"name: '{name}'\n{GOOD}")
    assert told.startswith("my-own.yaml:1: name: letters, digits, '_' and '-' only, starting with")


def test_the_files_own_name_must_be_one_too(tmp_path: Path) -> None:
    path = tmp_path / "my own.yaml"
    path.write_text(GOOD)
    with pytest.raises(UserError, match=r"my own\.yaml: name: letters, digits"):
        load_file(BenchmarkFile, path, {"name": path.stem})


@pytest.mark.parametrize("prompt", ["Solve it.", "", "{{question}}"])
def test_a_prompt_without_a_field_would_ask_every_item_the_same(
    tmp_path: Path, prompt: str
) -> None:
    told = refused(tmp_path, f"{GOOD}prompt: '{prompt}'\n")
    assert told.startswith("my-own.yaml:3: prompt: no field of the item in it, such as {question}")


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, "name: a b\nprompt: x\ngrader: maths\nfields: {a: 1}\n").split("\n")
    assert [line.split(": ")[:2] for line in lines] == [
        ["my-own.yaml:1", "name"], ["my-own.yaml", "data"], ["my-own.yaml:2", "prompt"],
        ["my-own.yaml:3", "grader"], ["my-own.yaml:4", "fields.a"],
    ]  # fmt: skip
