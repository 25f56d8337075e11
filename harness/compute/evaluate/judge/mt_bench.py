"""mt-bench: each turn rated 1 to 10, math, reasoning and coding beside a reference answer.

Prompts and their choice are FastChat's (`llm_judge/gen_judgment.py`, mode single), with its GPT-4
reference answers. Metric names are those of NeMo-Skills before it dropped mt-bench (July 2025),
which took other references (of gpt-4-0125-preview) and read only `Rating: [[<integer>]]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.compute.evaluate.judge.calls import Call, Judged, Row, shown_answers

_RATING = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]")
_SINGLE = re.compile(r"[Rr]ating:?\W{0,4}\[(\d+(?:\.\d+)?)\]")
TURNS = 2


def calls(item: Row, row: Row) -> list[Call]:
    """Turn 1 alone, then turn 2 with the whole conversation."""
    questions, answers = item["turns"], shown_answers(row, TURNS)
    fields = {"question": questions[0], "answer": answers[0]}
    for turn in range(TURNS):
        fields[f"question_{turn + 1}"] = questions[turn]
        fields[f"answer_{turn + 1}"] = answers[turn]
        if "references" in item:
            fields[f"ref_answer_{turn + 1}"] = item["references"][turn]
    return [
        Call(item["id"], f"turn{n + 1}", prompt["system"], prompt["template"].format(**fields))
        for n, prompt in enumerate(item["judge_prompts"])
    ]


def rating(judgement: str) -> float | None:
    """The first `[[x]]`, else the first `Rating: [x]`; None where it is not within 1 to 10.

    FastChat's second pattern takes any `[x]`, an index in quoted code too; here the word must
    stand before it.
    """
    match = _RATING.search(judgement) or _SINGLE.search(judgement)
    value = float(match[1]) if match else None
    return value if value is not None and 1 <= value <= 10 else None


def metrics(rows: Sequence[Row]) -> dict[str, Any]:
    """Averages over the ratings that are there, in all, by turn, by category and turn.

    An average of no rating is None; `missing_rating_turn<n>` counts turns without one.
    """
    ratings = [[rating(row[f"judgement-turn{n}"]) for n in (1, 2)] for row in rows]
    categories = list(dict.fromkeys(row["category"] for row in rows))
    turns = {n: [pair[n - 1] for pair in ratings] for n in (1, 2)}
    found: dict[str, Any] = {"average": _mean([*turns[1], *turns[2]])}
    found |= {f"average_turn{n}": _mean(values) for n, values in turns.items()}
    for category in categories:
        for n, values in turns.items():
            own = [v for v, row in zip(values, rows, strict=True) if row["category"] == category]
            found[f"{category}_turn{n}"] = _mean(own)
    found |= {f"missing_rating_turn{n}": values.count(None) for n, values in turns.items()}
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


JUDGED = Judged(calls, lambda text: rating(text) is not None, metrics)
