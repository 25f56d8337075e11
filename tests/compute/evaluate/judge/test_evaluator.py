"""A cell judged over HTTP: every call counted, none paid twice, whatever goes wrong.

The judge is a server of our own that speaks the protocol (judge_server.py); client, data, files
and metrics are the real ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare
from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.judge import Judge
from harness.config.evaluation import EvaluationSpec
from harness.config.judge import JudgeSpec
from harness.errors import EvaluationError, ResultError
from harness.plan.plan import Cell
from harness.runs.metrics import read_metrics, read_task
from harness.runs.paths import CellPaths
from tests.support import ROOT, shared_data

from .judge_server import KEY, JudgeServer, always_a, judging, longer_wins, rates_by_length

pytest.importorskip("openai", reason="needs the extra `eval`")
DATA = shared_data()
pytestmark = pytest.mark.skipif(
    DATA is None, reason="the shared benchmark data is not beside the repository"
)
VARIABLE = "TEST_JUDGE_KEY"


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    for name in ("mt-bench", "arena-hard"):
        prepare(name, folder, DATA)
    return folder


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def judge_spec(server: JudgeServer, **fields: Any) -> JudgeSpec:
    given = {"base_url": server.base_url, "model": "j", "api_key_env": VARIABLE, "retries": 2}
    return JudgeSpec.model_validate(given | {"max_invalid_share": 0.5} | fields)


def cell(
    folder: Path, benchmarks: Path, judge: JudgeSpec, name: str = "arena-hard", n: int | None = 6
) -> CellWork:
    """A cell whose answers are there: of the n-th item n characters, unless changed."""
    work = CellWork(
        cell=Cell(checkpoint="checkpoint-5", benchmark=name),
        paths=CellPaths(folder / "cell"),
        evaluation=EvaluationSpec(benchmarks=(name,), max_items=n, judge=judge),
        benchmarks_dir=benchmarks,
        fingerprint="abc",
        log="log",
        job_id="7",
        judge=Judge(judge),
    )
    answer(work, [row(item, "x" * (k + 1)) for k, item in enumerate(work.items())])
    return work


def answer(work: CellWork, rows: list[dict[str, Any]]) -> None:
    """Put answers where generation leaves them."""
    work.paths.root.mkdir(parents=True, exist_ok=True)
    work.paths.partial().write_text("".join(json.dumps(row) + "\n" for row in rows))


def answered(work: CellWork) -> list[dict[str, Any]]:
    return [json.loads(line) for line in work.paths.partial().read_text().splitlines()]


def judge_cell(work: CellWork) -> str:
    if not work.paths.partial().is_file():
        work._reopen()
    work.generate(None)  # no server of the candidate's is needed
    return work.grade()


def row(item: dict[str, Any], text: str) -> dict[str, Any]:
    answers = {"generations": [text, text + text]} if "turns" in item else {}
    return {"id": item["id"], "generation": text, "num_generated_tokens": 7, **answers}


def run(work: CellWork) -> dict[str, Any]:
    assert judge_cell(work) == "ok"
    return read_metrics(work.paths.metrics)[work.cell.benchmark]["pass@1"]


def kept(work: CellWork) -> list[dict[str, Any]]:
    file = work.paths.judgements
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


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


def test_too_many_requests_are_waited_for_as_told(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        server.failures = [(429, {"Retry-After": "2"}), (503, {})]
        began = time.monotonic()
        run(cell(tmp_path, benchmarks, judge_spec(server)))
        assert time.monotonic() - began >= 2
    assert (len(server.seen), len(server.answered)) == (14, 12)


def test_a_call_that_times_out_is_asked_again(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins, silent=2, silence_s=4.0) as server:
        run(cell(tmp_path, benchmarks, judge_spec(server, timeout_minutes=0.02)))
    assert (len(server.seen), len(server.answered)) == (14, 12)


def test_an_answer_that_never_ends_is_given_up(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins, trickle=1, silence_s=20) as server:
        began = time.monotonic()
        with pytest.raises(EvaluationError, match=r"does not end; 1 of 12 calls"):
            run(cell(tmp_path, benchmarks, judge_spec(server, retries=0, timeout_minutes=0.02)))
        assert time.monotonic() - began < 15
    assert len(server.answered) == 11


def test_a_judge_that_fails_leaves_answers_and_judgements_and_the_rest_is_judged_later(
    tmp_path: Path, benchmarks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judging(longer_wins) as server:
        server.before = lambda number: setattr(server, "always", 503 if number > 4 else 0) or False
        work = cell(tmp_path, benchmarks, judge_spec(server, retries=0, concurrency=1))
        partial = work.paths.partial()
        with pytest.raises(EvaluationError, match=r"5 calls in a row failed.*HTTP 503.*8 of 12"):
            run(work)
        assert partial.is_file() and work.has_answers()
        assert len(kept(work)) == 4
        server.before, server.always = None, 0
        again = cell(tmp_path, benchmarks, judge_spec(server))
        assert not again.is_done()
        again.generate(None)  # no server of the candidate's is needed
        assert again.grade() == "ok"
    assert len(server.answered) == 12
    assert max(Counter(server.prompts()).values()) == 1
    assert "4 of 12 judgements are there already" in capsys.readouterr().out


def test_a_judge_that_is_not_there_is_told_soon(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        spec = judge_spec(server, retries=0)
    with pytest.raises(EvaluationError, match="APIConnectionError"):
        run(cell(tmp_path, benchmarks, spec))


def test_one_call_that_fails_fails_the_cell_but_costs_no_other(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        server.failures = [(500, {})]
        with pytest.raises(EvaluationError, match="1 of 12 calls have no answer"):
            run(cell(tmp_path, benchmarks, judge_spec(server, retries=0)))
        run(cell(tmp_path, benchmarks, judge_spec(server)))
    assert len(server.answered) == 12


def test_a_refused_key_stops_at_once_and_is_shown_nowhere(
    tmp_path: Path, benchmarks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judging(longer_wins, key="another") as server:
        work = cell(tmp_path, benchmarks, judge_spec(server, concurrency=1))
        with pytest.raises(EvaluationError, match="the key is refused") as caught:
            run(work)
        assert len(server.seen) == 1
    work.record("failed", str(caught.value))
    shown = str(caught.value) + capsys.readouterr().out + repr(work)
    assert KEY not in shown + "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())


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


def test_a_refused_prompt_has_no_verdict_and_is_asked_again_later(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        server.refuse = work.items()[0]["question"]
        assert run(work)["invalid_scores"] == 2
        rows = [json.loads(line) for line in work.paths.output().read_text().splitlines()]
        assert "content filter" in rows[0]["judgement-gen-base-refused"]
        server.refuse = ""
        assert run(cell(tmp_path, benchmarks, judge_spec(server)))["invalid_scores"] == 0
    assert len(server.answered) == 12


def test_a_judge_that_refuses_everything_stops_soon(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins, refuse="<|User Prompt|>") as server:
        with pytest.raises(EvaluationError, match="refuses every prompt: HTTP 400"):
            run(cell(tmp_path, benchmarks, judge_spec(server, concurrency=1), n=20))
        assert len(server.seen) == 5


def test_something_that_is_no_chat_endpoint_is_told(tmp_path: Path, benchmarks: Path) -> None:
    told = pytest.raises(EvaluationError, match="not as a chat completions endpoint")
    with judging(longer_wins, always=200) as server, told:
        run(cell(tmp_path, benchmarks, judge_spec(server)))


def test_answers_that_cannot_be_a_result_are_not_judged(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        answer(work, [row(item, "") for item in work.items()])
        assert judge_cell(work) == "invalid"
        record = read_task(work.paths)
    assert record and record.reason == "every answer is empty; nothing was judged"
    assert not server.seen and not work.paths.metrics.exists()


def test_only_what_changed_is_judged_again(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        rows = answered(work)
        run(work)
        rows[3]["generation"] = "another answer"
        answer(work, rows)
        run(work)
        assert len(server.seen) == 14
        other = judge_spec(server, model="k")
        run(cell(tmp_path, benchmarks, other))
        assert len(server.seen) == 26
        run(cell(tmp_path, benchmarks, judge_spec(server)))
        assert len(server.seen) == 26


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


def test_a_torn_line_is_cut_and_its_call_made_again(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        text = work.paths.judgements.read_bytes()
        work.paths.judgements.write_bytes(text[:-9])
        run(work)
        assert len(server.seen) == 13
        assert len({j["key"] for j in kept(work)}) == len(kept(work)) == 12


def test_a_damaged_line_elsewhere_is_an_error_and_not_a_bill(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        lines = work.paths.judgements.read_text().splitlines(keepends=True)
        work.paths.judgements.write_text("".join([lines[0], "{damaged\n", *lines[2:]]))
        with pytest.raises(ResultError, match=r"judgements\.jsonl:2: not a judgement"):
            run(work)
    assert len(server.seen) == 12


_CHILD = """
import json, sys
from pathlib import Path
from tests.compute.evaluate.judge.test_evaluator import JudgeSpec, cell, run
spec = JudgeSpec.model_validate(json.loads(sys.argv[3]))
run(cell(Path(sys.argv[1]), Path(sys.argv[2]), spec))
"""


def test_killed_in_the_middle_it_pays_for_nothing_twice(tmp_path: Path, benchmarks: Path) -> None:
    killed = threading.Event()
    with judging(longer_wins) as server:
        spec = judge_spec(server, concurrency=1)

        def kill_at_the_seventh(number: int) -> bool:
            if number == 7:
                child.send_signal(signal.SIGKILL)
                killed.set()
            return number == 7

        server.before = kill_at_the_seventh
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path), str(benchmarks), spec.model_dump_json()],
            cwd=ROOT, env={**os.environ, VARIABLE: KEY},
        )  # fmt: skip
        assert child.wait(60) == -signal.SIGKILL and killed.is_set()
        server.before = None
        work = cell(tmp_path, benchmarks, spec)
        assert len(kept(work)) == len(server.answered) == 6
        assert run(work)["num_entries"] == 6
    assert len(server.answered) == 12
    assert max(Counter(server.prompts()).values()) == 1


@pytest.mark.parametrize("signals", [1, 3])
def test_told_to_stop_it_takes_home_what_is_under_way(
    tmp_path: Path, benchmarks: Path, signals: int
) -> None:
    with judging(longer_wins, delay_s=2.0) as server:
        spec = judge_spec(server)
        child = subprocess.Popen(
            [sys.executable, "-c", "import signal\n"
             "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + _CHILD,
             str(tmp_path), str(benchmarks), spec.model_dump_json()],
            cwd=ROOT, env={**os.environ, VARIABLE: KEY},
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while len(server.seen) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(signals):  # a requeue sends TERM after the USR2
            child.terminate()
            time.sleep(0.2)
        assert child.wait(30) == 143
        work = cell(tmp_path, benchmarks, spec)
        assert len(kept(work)) == len(server.answered) == len(server.seen) == 5
        run(work)
    assert len(server.answered) == 12


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
