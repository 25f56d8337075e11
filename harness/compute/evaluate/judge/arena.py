"""arena-hard: an answer against the baseline's, in both orders; score with a 95 % interval.

Prompts: arena-hard-auto (`utils/judge_utils.py`, `config/arena-hard-*.yaml`). Verdicts and score:
NeMo-Skills 0b012df (`metrics/arena_metrics.py`, `evaluator/arena.py`), to which the numbers compare.
arena-hard-auto's own table of v2 differs: it reads the last verdict, leaves out items with an
unreadable one, gives a 90 % interval, and by default controls for style.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.compute.evaluate.judge.calls import Call, Judged, Row, shown_answers

_OPENING = """\
Please act as an impartial judge and evaluate the quality of the responses provided by two AI \
assistants to the user prompt displayed below. You will be given assistant A's answer and \
assistant B's answer. Your job is to evaluate which assistant's answer is better.

"""
_OWN_ANSWER = """\
Begin your evaluation by generating your own answer to the prompt. You must provide your answers \
before judging any answers.

When evaluating the assistants' answers, compare both assistants' answers with your answer. You \
must identify and correct any mistakes or inaccurate information.

"""
_NO_OWN_ANSWER = """\
When evaluating the assistants' answers, compare both assistants' answers. You must identify and \
correct any mistakes or inaccurate information.

"""
_CRITERIA = """\
Then consider if the assistant's answers are helpful, relevant, and concise. Helpful means the \
answer correctly responds to the prompt or follows the instructions. Note when user prompt has \
any ambiguity or more than one interpretation, it is more helpful and appropriate to ask for \
clarifications or more information from the user than providing an answer based on assumptions. \
Relevant means all parts of the response closely connect or are appropriate to what is being \
asked. Concise means the response is clear and not verbose or excessive.

Then consider the creativity and novelty of the assistant's answers when needed. Finally, identify \
any missing important information in the assistants' answers that would be beneficial to include \
when responding to the user prompt.

After providing your explanation, you must output only one of the following choices as your final \
verdict with a label:

1. Assistant A is significantly better: [[A>>B]]
2. Assistant A is slightly better: [[A>B]]
3. Tie, relatively the same: [[A=B]]
4. Assistant B is slightly better: [[B>A]]
5. Assistant B is significantly better: [[B>>A]]

Example output: "My final verdict is tie: [[A=B]]"."""
_TEMPLATE = """\
<|User Prompt|>
{question}

<|The Start of Assistant A's Answer|>
{a}
<|The End of Assistant A's Answer|>

<|The Start of Assistant B's Answer|>
{b}
<|The End of Assistant B's Answer|>"""

_VERDICT = re.compile(r"\[\[([AB<>=]+)\]\]")
# Verdict -> (what A gains, how often the game counts). Source: NeMo-Skills, WEIGHT=3.
_OUTCOMES = {
    "A>>B": (1.0, 3),
    "A>B": (1.0, 1),
    "A=B": (0.5, 1),
    "B>A": (0.0, 1),
    "B>>A": (0.0, 3),
}
ROUNDS, SEED = 100, 42


def calls(item: Row, row: Row) -> list[Call]:
    """The candidate as assistant A, then as assistant B."""
    middle = _NO_OWN_ANSWER if item["category"] == "creative_writing" else _OWN_ANSWER
    system = _OPENING + middle + _CRITERIA
    (own,), other = shown_answers(row, 1), item["baseline_answer"]
    return [
        Call(item["id"], name, system, _TEMPLATE.format(question=item["question"], a=a, b=b))
        for name, a, b in (("gen-base", own, other), ("base-gen", other, own))
    ]


def verdict(judgement: str) -> str | None:
    """The label, if all that stand in double brackets are the same known one."""
    labels = set(_VERDICT.findall(judgement))
    label = labels.pop() if len(labels) == 1 else None
    return label if label in _OUTCOMES else None


def metrics(rows: Sequence[Row]) -> dict[str, Any]:
    """score and 95_CI (percent, two decimals, the interval relative to the score), invalid_scores."""
    battles: list[float] = []
    invalid = 0
    for row in rows:
        for name in ("gen-base", "base-gen"):
            label = verdict(row[f"judgement-{name}"])
            if label is None:
                invalid += 1
                continue
            gain, weight = _OUTCOMES[label]
            battles += [gain if name == "gen-base" else 1.0 - gain] * weight
    score, interval = score_with_interval(battles)
    return {"score": score, "95_CI": interval, "invalid_scores": invalid}


def score_with_interval(battles: Sequence[float]) -> tuple[float | None, list[float] | None]:
    """Bradley–Terry win rate against the baseline, with a bootstrap interval.

    `battles` are outcomes for the candidate: 1 won, 0.5 tied, 0 lost. Between two players the
    maximum-likelihood win rate is their mean, so nothing needs fitting. The interval is from the
    2.5th and 97.5th percentile of the rating (log odds) over 100 resamples, drawn as pandas'
    `sample(frac=1, replace=True)` draws them after `np.random.seed(42)`: equal to NeMo-Skills'.
    """
    import numpy as np

    if not battles:
        return None, None
    outcomes = np.asarray(battles)
    random = np.random.RandomState(SEED)
    means = [
        outcomes[random.choice(len(outcomes), len(outcomes), replace=True)].mean()
        for _ in range(ROUNDS)
    ]
    # All won or all lost has infinite odds: kept finite, it still prints as 100 or 0.
    odds = np.clip(means, 1e-9, 1 - 1e-9)
    bounds = np.percentile(np.log(odds / (1 - odds)), [2.5, 97.5])
    score = round(float(outcomes.mean()) * 100, 2)
    rates = [round(float(rate) * 100, 2) for rate in 1 / (1 + np.exp(-bounds))]
    return score, [round(rate - score, 2) for rate in rates]


JUDGED = Judged(calls, lambda text: verdict(text) is not None, metrics)
