"""Judgements on disk: found again by what was asked, whole, or told where they are damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.judge.calls import Call
from harness.compute.evaluate.judge.judgements import key_of, read_judgements
from harness.errors import ResultError

from .judge_server import judging, longer_wins
from .judged_cell import answer, answered, cell, judge_spec, kept, run


@pytest.mark.long
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


@pytest.mark.long
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


CALL = Call("arena/1", "gen-base", "Be fair.", "Which?")
REQUEST = {"model": "j", "temperature": 0, "extra_body": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (replace(CALL, item="arena/2"), REQUEST),
        (replace(CALL, name="base-gen"), REQUEST),
        (replace(CALL, system="Be unfair."), REQUEST),
        (replace(CALL, user="Which? "), REQUEST),
        (replace(CALL, system="Be fair.Which?", user=""), REQUEST),
        (CALL, REQUEST | {"model": "k"}),
        (CALL, REQUEST | {"temperature": None}),
        (CALL, REQUEST | {"extra_body": {"a": 1}}),
    ],
)
def test_whatever_else_is_asked_is_another_call(call: Call, request_: dict[str, Any]) -> None:
    assert key_of(call, request_) != key_of(CALL, REQUEST)


def test_a_key_is_the_same_in_every_process_and_whatever_the_order_of_settings() -> None:
    other_order = {"extra_body": {"b": 2, "a": 1}, "temperature": 0, "model": "j"}
    assert key_of(CALL, other_order) == key_of(CALL, REQUEST)
    # As it stands in files that are paid for: another rule for keys would pay for them again.
    assert key_of(CALL, {"model": "j"}) == "94d16a3847cfff199d68b8e08c4e2f14"


def test_no_file_holds_no_judgements_and_none_is_made(tmp_path: Path) -> None:
    assert read_judgements(tmp_path / "none.jsonl") == {}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.jsonl").touch()
    assert read_judgements(tmp_path / "empty.jsonl") == {}


def test_a_torn_last_line_is_cut_off_the_file_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    whole = "".join(json.dumps({"key": k, "judgement": "\u2028 ü"}) + "\n" for k in "ab")
    for torn in ('{"key": "c"', '{"key": "c", "judgement": "x"}', "ü"):
        path.write_text(whole + torn, encoding="utf-8")
        assert list(read_judgements(path)) == ["a", "b"]
        assert path.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("line", ["{torn", "", "[1]", '{"judgement": "x"}', "7", "\x00\x00"])
def test_a_damaged_line_is_told_by_its_number_and_nothing_is_touched(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "judgements.jsonl"
    text = f'{{"key": "a"}}\n{line}\n{{"key": "b"}}\n'
    path.write_text(text)
    with pytest.raises(
        ResultError, match=r"judgements\.jsonl:2: not a judgement; remove that line"
    ):
        read_judgements(path)
    assert path.read_text() == text


def test_of_two_judgements_of_one_call_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    path.write_text('{"key": "a", "judgement": "1"}\n{"key": "a", "judgement": "2"}\n')
    assert read_judgements(path)["a"]["judgement"] == "2"
