"""The table of benchmarks agrees with itself, and words of a spec name what is in it."""

from __future__ import annotations

from string import Formatter

import pytest

from harness.benchmarks.registry import BENCHMARKS, FOREIGN, parse
from harness.config.graders import GRADERS
from harness.errors import UserError

NAMES = sorted(BENCHMARKS)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_the_table_is_whole(name: str) -> None:
    row = BENCHMARKS[name]
    assert row.name == name
    assert row.items > 0
    assert row.headline in GRADERS[row.grader].metrics
    assert bool(row.generate) != bool(row.source and row.file and row.licence)
    assert "\n" not in row.summary
    assert bool(row.judge_model and row.judge_max_tokens) == row.needs_judge
    fields = {field for _, field, _, _ in Formatter().parse(row.prompt) if field is not None}
    assert fields == {"question"}


def test_who_judges_and_runs_code_is_told_by_the_grader() -> None:
    assert {n for n in NAMES if BENCHMARKS[n].needs_judge} == {
        "mt-bench", "arena-hard", "arena-hard-v2",
    }  # fmt: skip
    assert {n for n in NAMES if BENCHMARKS[n].runs_code} == {"human-eval", "mbpp"}


@pytest.mark.parametrize("name", [n for n in NAMES if BENCHMARKS[n].generate])
def test_a_generated_benchmark_has_its_number_of_different_items_each_time(name: str) -> None:
    generate = BENCHMARKS[name].generate
    assert generate is not None
    items = generate()
    assert len({item["id"] for item in items}) == len(items) == BENCHMARKS[name].items
    assert generate() == items
    assert all(BENCHMARKS[name].user_turn(item).strip() for item in items)
    items[0]["question"] = "changed"
    assert generate()[0]["question"] != "changed"


def test_braces_of_an_item_are_text_and_not_a_template() -> None:
    item = {"question": "What is {x} in {0!r}?"}
    assert "What is {x} in {0!r}?" in BENCHMARKS["gsm8k"].user_turn(item)
    assert BENCHMARKS["human-eval"].user_turn(item).count("```") == 2


def test_an_item_with_turns_is_asked_turn_by_turn() -> None:
    item = {"question": "A", "turns": ["A", "B"]}
    turns = BENCHMARKS["mt-bench"].turns(item)
    assert turns == ["A", "B"]
    turns.append("C")
    assert item["turns"] == ["A", "B"]
    assert BENCHMARKS["ifeval"].turns({"question": "A"}) == ["A"]


@pytest.mark.parametrize("backend", FOREIGN)
def test_any_benchmark_of_another_program_is_known_by_its_prefix(backend: str) -> None:
    found = parse(f"{backend}.aime24").benchmark
    assert (found.name, found.backend, found.grader) == (f"{backend}.aime24", backend, "")
    assert found.kind is None
    assert not found.needs_judge and not found.runs_code
    assert found.summary == f"aime24, asked and graded by {backend}"
    assert found.name not in BENCHMARKS  # it is made when it is asked for


@pytest.mark.parametrize(
    ("word", "repeats"),
    [("gsm8k", 1), ("gsm8k:1", 1), ("gsm8k:4", 4), ("gsm8k:1024", 1024), ("nemo-skills.a.b:8", 8),
     ("mt-bench:1", 1), ("lm-eval.mmlu:1", 1), ("lm-eval.tmmlu_(level)", 1), ("gsm8k:0004", 4)],
)  # fmt: skip
def test_a_number_after_the_colon_is_how_many_answers_are_drawn(word: str, repeats: int) -> None:
    run = parse(word)
    assert (run.name, run.repeats) == (word.partition(":")[0], repeats)


@pytest.mark.parametrize(
    "word", ["gsm8", "GSM8K", "gsm8k:", "gsm8k:x", "gsm8k:-1", "gsm8k:4:4", " gsm8k", "gsm8k\n"]
)
def test_an_unknown_word_is_quoted_with_what_is_known(word: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(word, "spec.yaml:7: evaluation.benchmarks")
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"spec.yaml:7: evaluation.benchmarks: unknown benchmark {word!r}")
    assert second.startswith(f"known: {', '.join(BENCHMARKS)}; ")
    assert "prepare my-benchmark.yaml" in second


def test_a_misspelt_word_offers_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'gsm8'; did you mean 'gsm8k'\?"):
        parse("gsm8")
    with pytest.raises(UserError, match=r"'gsm8k:x'; did you mean 'gsm8k'\?"):
        parse("gsm8k:x")


@pytest.mark.parametrize(
    "word",
    [
        "", "nemo-skills.", "lm-eval", "other.task", 'it\'s "a"\nb 🙂', "lm-eval.../../x",
        "lm-eval./etc/passwd", "nemo-skills...", "lm-eval.x\n", "lm-eval.-x", "lm-eval.--limit",
        "lm-eval.x y", "lm-eval.x:y", "nemo-skills.a/b", "lm-eval.ü", "gsm8k:\u0664", "gsm8k:4\n",
        "lm-eval." + "x" * 201,
    ],
)  # fmt: skip
def test_what_is_nobodys_is_unknown_and_stays_on_one_line(word: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(word)
    assert str(caught.value).startswith(f"benchmarks: unknown benchmark {repr(word)[:200]}")
    assert str(caught.value).count("\n") == 1
    assert word not in BENCHMARKS
    with pytest.raises(KeyError):
        BENCHMARKS[word]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gsm8k:0", "gsm8k:0: repeats are 1 to 1024"),
        ("gsm8k:1025", "gsm8k:1025: repeats are 1 to 1024"),
        (f"gsm8k:{'9' * 5000}", f"gsm8k:{'9' * 194}…: repeats are 1 to 1024"),
        ("mt-bench:2", "mt-bench:2: a judged benchmark takes one answer per item: mt-bench"),
        ("lm-eval.mmlu:3", "lm-eval.mmlu:3: lm-eval draws one answer for each item; leave out :3"),
    ],
)
def test_repeats_that_cannot_be_are_refused_with_the_cure(word: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(word, "eval")
    assert str(caught.value) == f"eval: {message}"
