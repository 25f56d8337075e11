"""Judgements on disk: found again by what was asked; a damaged line costs no other one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.judge.calls import Call
from harness.compute.evaluate.judge.judgements import key_of, read_judgements

from .judge_server import judging, longer_wins
from .judged_cell import answer, answered, cell, judge_spec, run


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
def test_a_torn_line_is_asked_for_again_and_costs_no_other(
    tmp_path: Path, benchmarks: Path
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        text = work.paths.judgements.read_bytes()
        work.paths.judgements.write_bytes(text[:-9])
        run(work)
        assert len(server.seen) == 13
    assert len(read_judgements(work.paths.judgements)) == 12


@pytest.mark.long
def test_a_damaged_line_elsewhere_is_paid_for_again_alone(
    tmp_path: Path, benchmarks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judging(longer_wins) as server:
        work = cell(tmp_path, benchmarks, judge_spec(server))
        run(work)
        lines = work.paths.judgements.read_text().splitlines(keepends=True)
        work.paths.judgements.write_text("".join([lines[0], "{damaged\n", *lines[2:]]))
        run(work)
    assert len(server.seen) == 13
    assert "1 lines of " in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("{torn", ""),
        ("[1]", ""),
        ('{"judgement": "x"}', ""),
        ('{"key": "c"}', ""),
        ('{"key": "c", "judgement": 5}', ""),
        ('{"key": "c", "judgement": "x", "prompt_tokens": "many"}', ""),
        ("7", ""),
        ("\x00\x00", ""),
        ("\x00\x00" + '{"key": "c", "judgement": "x"}', "c"),
        ('{"key": "d", "judgem{"key": "c", "judgement": "x"}', "c"),
        ("[" * 100_000, ""),
    ],
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_damaged_line_costs_no_other_and_nothing_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, read: str, end: str
) -> None:
    path = tmp_path / "judgements.jsonl"
    good = '{"key": "%s", "judgement": "\\u2028 ü"}\n'
    text = good % "a" + line + end if not end else good % "a" + line + end + good % "b"
    path.write_text(text, encoding="utf-8")
    assert set(read_judgements(path)) == {"a", *read, *("b" if end else "")}
    assert capsys.readouterr().out.startswith(f"1 lines of {path} are damaged")
    assert path.read_text(encoding="utf-8") == text


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    path.write_text('{"key": "a", "judgement": "x"}')
    assert set(read_judgements(path)) == {"a"}


def test_of_two_judgements_of_one_call_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    path.write_text('{"key": "a", "judgement": "1"}\n{"key": "a", "judgement": "2"}\n')
    assert read_judgements(path)["a"]["judgement"] == "2"
