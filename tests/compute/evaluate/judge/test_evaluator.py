"""A cell judged over HTTP: every call counted, none paid twice, whatever goes wrong.

The judge is a server of our own that speaks the protocol (judge_server.py); client, data, files
and metrics are the real ones.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import EvaluationError
from harness.runs.metrics import read_task

from .judge_server import KEY, always_a, judging, longer_wins, rates_by_length
from .judged_cell import VARIABLE, answer, cell, judge_cell, judge_spec, kept, row, run

pytest.importorskip("aiohttp", reason="needs the extra `eval`")


@pytest.mark.long
def test_all_of_arena_hard_is_judged_in_both_orders_at_most_five_at_once(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server), n=None)
        items = work.items()
        longer = {item["id"] for item in items[::4]}  # every fourth answer beats its baseline
        rows = [row(i, "y" * 20_000 if i["id"] in longer else "n") for i in items]
        rows[1]["generation"] = "nn"  # else: every wrong answer is the same
        answer(work, rows)
        found = run(work)
    assert len(server.answered) == len(server.seen) == 1000
    assert max(Counter(server.prompts()).values()) == 1
    assert 1 < server.most_at_once <= 5
    assert found["num_entries"] == 500
    assert found["score"] == 25.0
    assert found["invalid_scores"] == 0
    assert found["avg_tokens"] == 7
    record = read_task(work.paths)
    assert record and record.facts["judge_usage"] == {
        "calls": 1000, "invalid": 0, "prompt_tokens": 100_000, "completion_tokens": 10_000,
        "cut_at_max_tokens": 0,
    }  # fmt: skip
    assert record.facts["judge"]["model"] == "j"
    rows = [json.loads(line) for line in work.paths.output().read_text().splitlines()]
    assert "[[A>B]]" in rows[0]["judgement-gen-base"] and "[[B>A]]" in rows[0]["judgement-base-gen"]


@pytest.mark.long
def test_all_of_mt_bench_is_rated_turn_by_turn(tmp_path: Path, benchmarks: Path) -> None:
    with judging(rates_by_length) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server), "mt-bench", None)
        answer(work, [row(i, f"{n % 10:030d}") for n, i in enumerate(work.items())])
        found = run(work)
    assert len(server.answered) == 160
    assert (found["average_turn1"], found["average_turn2"]) == (4.0, 7.0)
    assert found["average"] == 5.5
    categories = [
        "writing",
        "roleplay",
        "reasoning",
        "math",
        "coding",
        "extraction",
        "stem",
        "humanities",
    ]
    assert [found[f"{c}_turn1"] for c in categories] == [4.0] * 8
    assert [found[f"{c}_turn2"] for c in categories] == [7.0] * 8
    assert (found["missing_rating_turn1"], found["missing_rating_turn2"]) == (0, 0)
    guided = [p for p in server.prompts() if "The Start of Reference Answer" in p]
    assert len(guided) == 60
    body = server.answered[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("j", 0, 2048)


def test_a_judge_biased_to_the_first_answer_gives_fifty(tmp_path: Path, benchmarks: Path) -> None:
    with judging(always_a) as server:
        assert run(cell(tmp_path, benchmarks, judge_spec(server)))["score"] == 50.0


def test_a_finished_cell_costs_nothing_more(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        first = run(cell(tmp_path, benchmarks, judge_spec(server)))
        assert run(cell(tmp_path, benchmarks, judge_spec(server))) == first
    assert len(server.seen) == 12


def test_a_missing_key_is_told_before_any_call(
    tmp_path: Path, benchmarks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    with judging(longer_wins) as server, pytest.raises(EvaluationError, match=rf"\${VARIABLE}"):
        run(cell(tmp_path, benchmarks, judge_spec(server)))
    assert not server.seen


def test_the_key_is_in_no_file(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        run(cell(tmp_path, benchmarks, judge_spec(server)))
    files = [p.read_text() for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) == 4
    assert KEY not in "".join(files)


def test_malformed_verdicts_are_counted_and_never_paid_for_again(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        spec = judge_spec(server)
        work = cell(tmp_path, benchmarks, spec)
        server.malformed = work.items()[2]["question"]
        assert run(work)["invalid_scores"] == 2
        assert run(cell(tmp_path, benchmarks, spec))["invalid_scores"] == 2
        record = read_task(work.paths)
        assert record and "2 of 12 judgements have no verdict" in record.facts["warnings"]
        strict = cell(tmp_path, benchmarks, judge_spec(server, max_invalid_share=0.1))
        assert judge_cell(strict) == "invalid"
    assert len(server.seen) == 12


def test_answers_that_cannot_be_a_result_are_not_judged(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        answer(work, [row(item, "") for item in work.items()])
        assert judge_cell(work) == "invalid"
        record = read_task(work.paths)
    assert record and record.reason == "every answer is empty; nothing was judged"
    assert not server.seen and not work.paths.metrics.exists()


@pytest.mark.long
def test_another_judge_judges_the_same_answers_again(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        assert work.is_done()
        other = cell(tmp_path, benchmarks, judge_spec(server, model="k"))
        assert not other.is_done()
        assert other.has_answers() and not other.paths.metrics.exists()
        other.generate(None)
        assert other.grade() == "ok" and other.is_done()
        assert {body["model"] for body in server.answered[12:]} == {"k"}
        assert len(server.seen) == 24


def test_results_of_another_checkpoint_are_set_aside_but_paid_judgements_stay(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        other = replace(work, fingerprint="def")
        assert not other.is_done() and not other.has_answers()
    assert len(kept(work)) == 12


def test_a_judge_that_thinks_aloud_is_read_after_its_thoughts(
    tmp_path: Path, benchmarks: Path
) -> None:
    def thinks(prompt: str) -> str:
        return "<think>[[A>>B]] or [[B>A]]?</think>" + longer_wins(prompt)

    with judging(thinks) as server:
        found = run(cell(tmp_path, benchmarks, judge_spec(server)))
    assert (found["score"], found["invalid_scores"]) == (0.0, 0)


def test_settings_go_into_each_request(tmp_path: Path, benchmarks: Path) -> None:
    body = {"max_completion_tokens": 99, "reasoning_effort": "low"}
    with judging(longer_wins) as server:
        run(cell(tmp_path, benchmarks, judge_spec(server, temperature=None, body=body)))
    sent = server.seen[0]
    assert {k: sent[k] for k in body} == body
    assert "temperature" not in sent and "max_tokens" not in sent
