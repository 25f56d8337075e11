"""Calls to a judge that goes wrong: bounded, told, and never paid for twice.

The judge is a server of our own (judge_server.py); client, data, files and metrics are the real
ones.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.endpoint.client import Endpoint
from harness.compute.evaluate.endpoint.replies import Answer, Fault, Kind, read
from harness.compute.evaluate.judge.ask import MAX_FAILURES_IN_A_ROW, Asking
from harness.compute.evaluate.judge.calls import Call
from harness.errors import EvaluationError

from .judge_server import KEY, judging, longer_wins
from .judged_cell import cell, judge_spec, kept, run

pytest.importorskip("aiohttp", reason="needs the extra `eval`")


@pytest.mark.long
def test_too_many_requests_are_waited_for_as_told(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins) as server:
        server.failures = [(429, {"Retry-After": "2"}), (503, {})]
        began = time.monotonic()
        run(cell(tmp_path, benchmarks, judge_spec(server)))
        assert time.monotonic() - began >= 2
    assert (len(server.seen), len(server.answered)) == (14, 12)


@pytest.mark.long
def test_a_call_that_times_out_is_asked_again(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins, silent=2, silence_s=4.0) as server:
        run(cell(tmp_path, benchmarks, judge_spec(server, timeout_minutes=0.02)))
    assert (len(server.seen), len(server.answered)) == (14, 12)


@pytest.mark.long
def test_an_answer_that_never_ends_is_given_up(tmp_path: Path, benchmarks: Path) -> None:
    with judging(longer_wins, trickle=1, silence_s=20) as server:
        began = time.monotonic()
        with pytest.raises(EvaluationError, match=r"does not end within 1\.2 s; 1 of 12 calls"):
            run(cell(tmp_path, benchmarks, judge_spec(server, retries=0, timeout_minutes=0.02)))
        assert time.monotonic() - began < 15
    assert len(server.answered) == 11


@pytest.mark.long
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
    with pytest.raises(EvaluationError, match="no answer: ClientConnectorError"):
        run(cell(tmp_path, benchmarks, spec))


@pytest.mark.long
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


@pytest.mark.long
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
    """An address that answers everything with 200, and an error in the body."""
    told = pytest.raises(EvaluationError, match=r"HTTP 500: busy; 1[0-2] of 12 calls")
    with judging(longer_wins, always=200) as server, told:
        run(cell(tmp_path, benchmarks, judge_spec(server, retries=0)))


def asking(folder: Path, **fields: Any) -> Asking:
    """Three calls that nobody has been asked yet."""
    given: dict[str, Any] = {
        "name": "arena-hard",
        "todo": [(f"k{n}", Call(f"i{n}", "gen-base", "judge", "text")) for n in range(3)],
        "path": folder / "judgements.jsonl",
        "endpoint": Endpoint("http://127.0.0.1:9/v1", KEY, "j"),
        "request": {"temperature": 0},
        "concurrency": 1,
        "timeout_s": 5.0,
        "retries": 0,
        "readable": lambda text: "[[" in text,
    }
    return Asking(**given | fields)


def came_as(work: Asking, **answer: Any) -> Any:
    """The judgement that an answer to the first call is."""
    return work._judgement(*work.todo[0], (Answer(**{"text": "[[A>B]]"} | answer), 1.0))


def test_tokens_that_an_endpoint_does_not_count_are_unknown_and_not_zero(tmp_path: Path) -> None:
    work = asking(tmp_path, label="tiny@abc")
    found = came_as(work, finish_reason="length")
    assert (found["prompt_tokens"], found["completion_tokens"]) == (None, None)
    assert (found["key"], found["id"], found["call"]) == ("k0", "i0", "gen-base")
    assert (found["judge"], found["finish_reason"]) == ("tiny@abc", "length")
    assert came_as(asking(tmp_path), completion_tokens=0)["completion_tokens"] == 0
    assert came_as(asking(tmp_path))["judge"] == "j"


def test_a_judgement_without_a_word_is_one_without_a_verdict(tmp_path: Path) -> None:
    found = came_as(asking(tmp_path), text="", reasoning={"reasoning": "hm"})
    assert (found["judgement"], found["reasoning"]) == ("", "hm")


def test_an_answer_without_a_choice_is_a_failure(tmp_path: Path) -> None:
    work = asking(tmp_path)
    with pytest.raises(Fault) as caught:
        read(200, b'{"choices": []}')
    work._note("k0", caught.value)
    assert work.failed == [
        'it answers, but not as a chat completions endpoint does: {"choices": []}'
    ]
    assert work.refused == {}


def test_what_no_prompt_will_get_past_stops_the_work(tmp_path: Path) -> None:
    work = asking(tmp_path)
    work._note("k0", Fault(Kind.SUSPECT, "HTTP 403: no"))
    work._note("k1", Fault(Kind.SUSPECT, "HTTP 403: no"))
    assert not work.stop  # it may be these prompts alone
    work._note("k2", Fault(Kind.SUSPECT, "HTTP 403: no"))
    assert work.stop == "3 calls in a row failed, the last with: HTTP 403: no"
    work = asking(tmp_path)
    work._note("k0", Fault(Kind.HOPELESS, "the key is refused (HTTP 401: expired)"))
    assert work.stop == "the key is refused (HTTP 401: expired)"


def test_only_failures_in_a_row_stop_the_work(tmp_path: Path) -> None:
    work = asking(tmp_path)
    for _ in range(2):
        for _ in range(MAX_FAILURES_IN_A_ROW - 1):
            work._failure("HTTP 500")
        assert not work.stop
        work._in_a_row = 0  # as an answer in between does
    for _ in range(MAX_FAILURES_IN_A_ROW):
        work._failure("HTTP 502")
    assert work.stop == "5 calls in a row failed, the last with: HTTP 502"


def test_refusals_stop_the_work_only_where_nothing_was_ever_judged(tmp_path: Path) -> None:
    work = asking(tmp_path, came={"k": {}})
    for n in range(2 * MAX_FAILURES_IN_A_ROW):
        work._refusal(f"k{n}", "HTTP 400")
    assert not work.stop


def test_the_last_line_says_what_became_of_every_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = asking(tmp_path)
    work.came["k0"] = came_as(work, text="no verdict")
    work._unreadable += 1
    work._say()
    assert capsys.readouterr().out == ""  # it is soon enough to say something at the end
    work._refusal("k1", "HTTP 400")
    work._failure("HTTP 500")
    work._say()
    assert capsys.readouterr().out == (
        "arena-hard: 1 of 3 judgements by j, 1 without a verdict, 1 refused, 1 failed, 0 tokens\n"
    )
