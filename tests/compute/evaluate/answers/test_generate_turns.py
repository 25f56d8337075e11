"""Answers of two turns: the second question is asked with the first answer in context."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.answers.generate import Generation, generate
from harness.compute.evaluate.judge.calls import shown_answers
from harness.config.evaluation import EvaluationSpec, Sampling
from tests.compute.evaluate.judge.judge_server import JudgeServer, judging

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
ITEMS = [
    {"id": f"mt-bench/{n}", "question": f"first {n}", "category": category,
     "turns": [f"first {n}", f"second {n}"]}
    for n, category in enumerate(("writing", "math", "stem"))
]  # fmt: skip


def thinks(question: str) -> str:
    return f"<think>hm</think>answer to {question}"


def ask(server: JudgeServer, path: Path, **sampling: Any) -> list[dict[str, Any]]:
    spec = EvaluationSpec(benchmarks=("mt-bench",), sampling=Sampling(**sampling), concurrency=1)
    running = SimpleNamespace(
        base_url=server.base_url, api_key="k", model="m", raise_if_dead=lambda: None
    )
    extra = {"generation_config": "{}"}
    work = Generation(BENCHMARKS["mt-bench"], ITEMS, 0, path, extra)
    answers = generate(work, running, spec)  # type: ignore[arg-type]
    return list(answers.rows(item["id"] for item in ITEMS))


def test_the_second_turn_is_asked_with_the_first_answer_without_its_thoughts(
    tmp_path: Path,
) -> None:
    with judging(thinks, key=None) as server:
        rows = ask(server, tmp_path / "p.jsonl")
    assert [body["messages"] for body in server.answered[:2]] == [
        [{"role": "user", "content": "first 0"}],
        [
            {"role": "user", "content": "first 0"},
            {"role": "assistant", "content": "answer to first 0"},
            {"role": "user", "content": "second 0"},
        ],
    ]
    assert rows[0]["generations"] == [thinks("first 0"), thinks("second 0")]
    assert rows[0]["generation"] == thinks("second 0")
    assert rows[0]["num_generated_tokens"] == 20
    assert shown_answers(rows[0], 2) == ["answer to first 0", "answer to second 0"]


def test_temperatures_are_the_categories_own(tmp_path: Path) -> None:
    with judging(thinks, key=None) as server:
        ask(server, tmp_path / "a.jsonl", temperature=0.6)
        ask(server, tmp_path / "b.jsonl", temperature=0.6, by_category=False)
    sent = [body["temperature"] for body in server.answered]
    assert sent == [0.7, 0.7, 0.0, 0.0, 0.1, 0.1, *[0.6] * 6]
    # A configuration that switches sampling on goes only with requests that sample.
    assert ["generation_config" in body for body in server.answered[:4]] == [
        True,
        True,
        False,
        False,
    ]


def test_an_item_is_whole_or_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with judging(thinks, key=None) as server:
        server.refuse = "second 1"
        rows = ask(server, path)
        assert "content filter" in rows[1]["error"] and "generation" not in rows[1]
        server.refuse = ""
        done = len(server.answered)
        rows = ask(server, path)
        assert all("error" not in row for row in rows)
        assert len(server.answered) == done + 2
    assert json.loads(path.read_text().splitlines()[-1])["id"] == "mt-bench/1"
