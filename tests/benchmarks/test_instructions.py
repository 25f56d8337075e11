from collections.abc import Mapping
from typing import Any

import pytest

from harness.benchmarks.instructions import Example, Prompt, examples, prompts
from harness.compute.evaluate.graders.instructions_following import load_checkers
from harness.errors import EvaluationError

NEEDS_DOWNLOADED_DATA = {
    "length_constraints:number_sentences",
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
    "language:response_language",
}


def checkers() -> Mapping[str, Any]:
    """IFEval's own checkers, as lm-eval carries them."""
    try:
        return load_checkers(needs_punkt=False)
    except EvaluationError as error:
        pytest.skip(str(error))


def obeys(row: Prompt | Example, response: str) -> list[bool]:
    known = checkers()
    verdicts = []
    for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
        checker = known[name](name)
        checker.build_description(**kwargs)
        verdicts.append(bool(checker.check_following(response)))
    return verdicts


def test_every_training_response_obeys_its_prompt() -> None:
    for row in examples(200):
        assert all(obeys(row, row["response"])), row


def test_checkers_accept_the_arguments_of_every_test_prompt() -> None:
    known = checkers()
    for row in prompts(150):
        obeys(row, "Some answer.")
        for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            checker = known[name](name)
            checker.build_description(**kwargs)
            assert set(kwargs) == set(checker.get_instruction_args_keys())


def test_an_answer_to_a_word_problem_does_not_pass_the_prompts_by_accident() -> None:
    wrong = "Red: 3 * 5 = 15, and in all 31. The answer is \\boxed{31}."
    passed = [all(obeys(row, wrong)) for row in prompts(39)]
    assert sum(passed) <= len(passed) // 4


def test_no_instruction_needs_downloaded_data_or_guesses_a_language() -> None:
    used = {name for row in prompts(150) for name in row["instruction_id_list"]}
    assert len(used) >= 10
    assert not used & NEEDS_DOWNLOADED_DATA


def test_test_prompts_and_training_prompts_share_nothing() -> None:
    assert not {row["prompt"] for row in prompts(150)} & {row["prompt"] for row in examples(200)}


def test_rows_have_the_format_of_ifeval() -> None:
    for key, row in enumerate(prompts(20)):
        assert list(row) == ["key", "prompt", "instruction_id_list", "kwargs"]
        assert row["key"] == key
        assert len(row["instruction_id_list"]) == len(row["kwargs"]) > 0


def test_same_seed_gives_the_same_prompts_and_a_longer_list_begins_with_the_shorter() -> None:
    assert prompts(20) == prompts(40)[:20]
    assert prompts(20) != prompts(20, seed=1)


@pytest.mark.parametrize(("count", "words"), [(-1, "negative"), (5000, "cannot make")])
def test_impossible_requests_are_refused(count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prompts(count)
