import re

import pytest

from harness.benchmarks.arithmetic import PROMPT, Split, problems, prompt

NUMBER = re.compile(r"\d+")


def told_by(question: str) -> tuple[str, ...]:
    """The question without names and objects: its numbers and the words all templates share."""
    words = re.sub(r"[A-Z][a-z]+", "N", question).split()
    keep = {"more", "each", "loses", "gives", "takes", "total", "times", "together", "back?"}
    keep |= {"fewer", "hour", "sells", "pages", "finds", "blue", "all?", "now?", "left"}
    return tuple(word for word in words if NUMBER.search(word) or word.strip(",.") in keep)


def test_no_test_problem_is_a_training_problem_under_other_names() -> None:
    train = {told_by(row["question"]) for seed in range(3) for row in problems("train", 3000, seed)}
    test = {told_by(row["question"]) for seed in range(3) for row in problems("test", 700, seed)}
    assert train and test
    assert not train & test


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_step_of_every_solution_is_true_and_the_last_result_is_the_answer(
    split: Split,
) -> None:
    for row in problems(split, 1000):
        steps = re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)\.", row["solution"])
        assert 1 <= len(steps) <= 3
        for left, sign, right, result in steps:
            value = {
                "+": int(left) + int(right),
                "-": int(left) - int(right),
                "*": int(left) * int(right),
            }[sign]
            assert value == int(result) > 0
        assert row["solution"].endswith(f"\\boxed{{{row['expected_answer']}}}.")
        assert steps[-1][3] == row["expected_answer"]


def test_every_number_of_a_question_is_used_by_its_solution() -> None:
    for row in problems("test", 500):
        assert set(NUMBER.findall(row["question"])) <= set(NUMBER.findall(row["solution"]))


def test_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    assert problems("test", 40) == problems("test", 40, seed=0)
    assert problems("test", 40) != problems("test", 40, seed=1)
    assert problems("test", 60)[:40] == problems("test", 40)


def test_first_problem_never_changes() -> None:
    assert problems("test", 1) == [
        {
            "id": "arithmetic-test-0-0",
            "question": "Victor has 20 oranges and buys 2 more. "
            "How many oranges does Victor have now?",
            "solution": "Victor now has: 20 + 2 = 22. The answer is \\boxed{22}.",
            "expected_answer": "22",
        }
    ]


def test_questions_and_ids_are_unique() -> None:
    rows = problems("train", 2000)
    assert len({row["question"] for row in rows}) == len({row["id"] for row in rows}) == 2000


def test_a_short_test_list_has_most_templates_and_all_numbers_of_steps() -> None:
    steps = [row["solution"].count(" = ") for row in problems("test", 40)]
    assert set(steps) == {1, 2, 3}


def test_prompt_asks_for_the_box_with_single_braces() -> None:
    assert prompt("How {many}?") == (
        "Solve the following math problem. Make sure to put the answer (and only answer) "
        "inside \\boxed{}.\n\nHow {many}?"
    )
    assert PROMPT.format(question="Q") == prompt("Q")


@pytest.mark.parametrize(
    ("split", "count", "words"),
    [("dev", 1, "unknown split"), ("test", -1, "negative")],
)
def test_impossible_requests_are_refused(split: Split, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        problems(split, count)
