"""mt-bench: ratings, averages, and the reference-guided prompts of the real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import open_items, prepare
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.answers.generate import temperature_of
from harness.compute.evaluate.judge.mt_bench import calls, metrics, rating
from harness.config.evaluation import EvaluationSpec, Sampling
from tests.support import shared_data

DATA = shared_data()
needs_data = pytest.mark.skipif(
    DATA is None, reason="the shared benchmark data is not beside the repository"
)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    assert DATA is not None
    folder = tmp_path_factory.mktemp("benchmarks")
    prepare("mt-bench", folder, Path(DATA))
    return open_items(folder, "mt-bench")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rating: [[8]]", 8.0),
        ("**Rating:** [[6.5]]", 6.5),
        ("[[3]] then [[9]]", 3.0),
        ("Rating: [7]", 7.0),
        ("**Rating**: [7]", 7.0),
        ("nums[1] is wrong, so no rating", None),
        ("[[11]]", None),
        ("[[0]]", None),
        ("[[rating]]", None),
        ("Rating: 8", None),
        ("", None),
    ],
)
def test_ratings(text: str, expected: float | None) -> None:
    assert rating(text) == expected


def test_averages_leave_missing_ratings_out_and_count_them() -> None:
    rows = [
        {"category": "math", "judgement-turn1": "[[8]]", "judgement-turn2": "[[4]]"},
        {"category": "math", "judgement-turn1": "[[6]]", "judgement-turn2": "none"},
        {"category": "stem", "judgement-turn1": "[[1]]", "judgement-turn2": "?"},
    ]
    assert metrics(rows) == {
        "average": (8 + 6 + 1 + 4) / 4,
        "average_turn1": 5.0,
        "average_turn2": 4.0,
        "math_turn1": 7.0,
        "math_turn2": 4.0,
        "stem_turn1": 1.0,
        "stem_turn2": None,
        "missing_rating_turn1": 0,
        "missing_rating_turn2": 2,
    }


@needs_data
def test_math_reasoning_and_coding_are_judged_beside_a_reference(
    items: list[dict[str, Any]],
) -> None:
    guided = set()
    for item in items:
        first, second = calls(item, {"generations": ["one", "two"]})
        assert (first.name, second.name) == ("turn1", "turn2")
        marks = ["[The Start of Reference Answer]" in first.user,
                 "<|The Start of Reference Answer|>" in second.user]  # fmt: skip
        assert len(set(marks)) == 1
        if marks[0]:
            guided.add(item["category"])
            assert item["references"][0] in first.user
            assert all(text in second.user for text in item["references"])
        assert item["turns"][0] in first.user and item["turns"][1] not in first.user
        assert all(turn in second.user for turn in item["turns"])
        assert "two" in second.user
    assert guided == {"math", "reasoning", "coding"}
    assert sum("references" in item for item in items) == 30


@needs_data
def test_the_first_turn_is_judged_by_fastchats_own_words(items: list[dict[str, Any]]) -> None:
    call = calls(items[0], {"generations": ["my answer", "second"]})[0]
    assert call.system == "You are a helpful assistant."
    assert call.user.startswith("[Instruction]\nPlease act as an impartial judge")
    assert call.user.endswith(
        f"[Question]\n{items[0]['turns'][0]}\n\n[The Start of Assistant's Answer]\nmy answer\n"
        "[The End of Assistant's Answer]"
    )


def test_each_category_has_fastchats_temperature_unless_the_spec_says_otherwise() -> None:
    benchmark = BENCHMARKS["mt-bench"]
    spec = EvaluationSpec(benchmarks=("mt-bench",))
    own = spec.model_copy(update={"sampling": Sampling(temperature=0.3, by_category=False)})
    expected = {"writing": 0.7, "math": 0.0, "stem": 0.1, "unheard of": spec.sampling.temperature}
    for category, temperature in expected.items():
        assert temperature_of(benchmark, {"category": category}, spec) == temperature
        assert temperature_of(benchmark, {"category": category}, own) == 0.3
