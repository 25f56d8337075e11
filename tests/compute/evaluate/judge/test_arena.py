"""arena-hard's numbers: equal to NeMo-Skills' and to an independent computation."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from harness.compute.evaluate.judge.arena import calls, metrics, score_with_interval, verdict

ITEM = {"id": "u", "question": "Q?", "baseline_answer": "base", "category": "arena-hard-v0.1"}


def judged(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"judgement-gen-base": f"verdict [[{a}]]", "judgement-base-gen": f"verdict [[{b}]]"}
        for a, b in pairs
    ]


def test_verdicts_of_nemo_skills_own_test_give_its_recorded_metrics() -> None:
    """NeMo-Skills (0b012df), tests/data/eval_outputs: its ten pairs, and its metrics.json."""
    rows = judged(
        ("A>>B", "B>A"), ("A>>B", "B>>A"), ("B>>A", "A>>B"), ("", "A<B"), ("B>>A", "A<<B"),
        ("B>>A", "A>>B"), ("B>>A", "A>>B"), ("B>>A", "A>>B"), ("B>>A", "A>>B"), ("B>>A", "A>B"),
    )  # fmt: skip
    assert metrics(rows) == {"score": 21.28, "95_CI": [-10.64, 8.51], "invalid_scores": 3}


def fitted(battles: list[float]) -> tuple[float, list[float]]:
    """The same by logistic regression and pandas' resampling, as arena-hard-auto does it."""
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    linear_model = pytest.importorskip("sklearn.linear_model")

    def rate(outcomes: Any) -> float:
        y = np.concatenate([np.where(outcomes == 0.5, 1.0, outcomes),
                            np.where(outcomes == 0.5, 0.0, outcomes)])  # fmt: skip
        x = np.tile([math.log(10), -math.log(10)], (len(y), 1))
        model = linear_model.LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-8)
        a, b = model.fit(x, y).coef_[0]
        return float(a - b)

    def percent(difference: float) -> float:
        return round(100 / (1 + 10**-difference), 2)

    frame = pd.DataFrame({"outcome": battles})
    score = percent(rate(frame["outcome"].to_numpy()))
    np.random.seed(42)
    samples = [rate(frame.sample(frac=1.0, replace=True)["outcome"].to_numpy()) for _ in range(100)]
    low, high = (percent(np.percentile(samples, q)) for q in (2.5, 97.5))
    return score, [round(low - score, 2), round(high - score, 2)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_score_and_interval_equal_a_fitted_bradley_terry_model(seed: int) -> None:
    draw = random.Random(seed)
    battles = draw.choices([0.0, 0.5, 1.0], weights=[5, 1, 3 + seed], k=400)
    score, interval = score_with_interval(battles)
    expected, expected_interval = fitted(battles)
    assert score == pytest.approx(expected, abs=0.011)
    assert interval == pytest.approx(expected_interval, abs=0.021)


def test_a_judge_that_always_says_a_gives_fifty() -> None:
    found = metrics(judged(*[("A>>B", "A>>B")] * 50))
    assert found["score"] == 50.0
    low, high = found["95_CI"]
    assert low < 0 < high


def test_a_clear_verdict_counts_three_times() -> None:
    assert metrics(judged(("A>>B", "A>B")))["score"] == 75.0
    assert metrics(judged(("A>B", "A>>B")))["score"] == 25.0


def test_all_won_and_all_lost_are_exact() -> None:
    won = {"score": 100.0, "95_CI": [0.0, 0.0], "invalid_scores": 0}
    assert metrics(judged(*[("A>B", "B>A")] * 9)) == won
    assert metrics(judged(*[("B>A", "A>B")] * 9)) == {**won, "score": 0.0}


def test_no_verdict_at_all_is_no_score_and_not_zero() -> None:
    assert metrics(judged(("?", "!"))) == {"score": None, "95_CI": None, "invalid_scores": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My final verdict is: [[A>>B]].", "A>>B"),
        ("[[B>A]] ... so [[B>A]]", "B>A"),
        ("[[A>B]] or rather [[A>>B]]", None),
        ("[A>B]", None),
        ("[[A<B]]", None),
        ("[[B=A]]", None),
        ("[[a>b]]", None),
        ("[[]] [[AB]]", None),
        ("", None),
    ],
)
def test_verdicts_are_read_as_nemo_skills_reads_them(text: str, expected: str | None) -> None:
    assert verdict(text) == expected


def test_both_orders_are_asked_and_thoughts_are_not_shown() -> None:
    first, second = calls(ITEM, {"generation": "<think>secret</think>mine"})
    assert (first.name, second.name) == ("gen-base", "base-gen")
    assert first.user == (
        "<|User Prompt|>\nQ?\n\n<|The Start of Assistant A's Answer|>\nmine\n"
        "<|The End of Assistant A's Answer|>\n\n<|The Start of Assistant B's Answer|>\nbase\n"
        "<|The End of Assistant B's Answer|>"
    )
    assert second.user.index("base") < second.user.index("mine")
    assert "secret" not in first.user + second.user
    assert "generating your own answer" in first.system


def test_creative_writing_asks_for_no_answer_of_the_judge() -> None:
    call = calls({**ITEM, "category": "creative_writing"}, {"generation": "x"})[0]
    assert "generating your own answer" not in call.system
    assert call.system.endswith('Example output: "My final verdict is tie: [[A=B]]".')


def test_braces_in_an_answer_stay_as_they_are() -> None:
    call = calls(ITEM, {"generation": "{question} {0} {{x}}"})[0]
    assert "{question} {0} {{x}}" in call.user
