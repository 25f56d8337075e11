"""The order of columns: fixed by names alone, so that no failed cell moves another's numbers."""

from __future__ import annotations

import random

from harness.results.columns import ordered

IN_ORDER = [
    "lm-eval.b/pass@1/acc", "gsm8k/pass@1/num_entries", "gsm8k/pass@1/avg_tokens",
    "gsm8k/pass@1/symbolic_correct", "gsm8k/pass@1/no_answer", "gsm8k/pass@1/own",
    "gsm8k/pass@2/symbolic_correct", "gsm8k/pass@10/symbolic_correct",
    "gsm8k/pass@1[avg-of-2]/symbolic_correct",
    "gsm8k/pass@1[avg-of-2]/symbolic_correct_statistics/avg",
    "gsm8k/pass@1[avg-of-10]/symbolic_correct", "gsm8k/majority@2/symbolic_correct",
    "mmlu/pass@1/symbolic_correct", "mmlu-anatomy/pass@1/symbolic_correct",
    "mmlu-computer science/pass@1/symbolic_correct", "arena-hard/pass@1/score",
    "arena-hard-v2/pass@1/score", "a/pass@1/x", "lm-eval.a/pass@1/acc", "lm-eval.a/pass@1/acc_stderr",
    "lm-eval.a/pass@1[flexible-extract]/acc", "lm-eval.a2/pass@1/acc", "lm-eval.a10/pass@1/acc",
]  # fmt: skip


def test_columns_come_as_planned_then_as_the_registry_then_by_name() -> None:
    assert ordered(IN_ORDER, ["lm-eval.b"]) == IN_ORDER


def test_any_columns_keep_their_order_whichever_others_there_are() -> None:
    dice = random.Random(0)
    for _ in range(50):
        some = dice.sample(IN_ORDER, dice.randint(0, len(IN_ORDER)))
        assert ordered(some, ["lm-eval.b"]) == [c for c in IN_ORDER if c in some]
