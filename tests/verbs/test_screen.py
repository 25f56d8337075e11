"""What is shown: the plan, states, a server, tables and rows, as text and as JSON."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.site import Site
from harness.plan.plan import Cell
from harness.preflight.findings import error, note, warning
from harness.preflight.rows.inspect import Inspection, ShownRow
from harness.results.table import Problem, Row, Table
from harness.runs.paths import RunPaths
from harness.scheduling.cells import CellStatus
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.stage import stage
from harness.verbs.screen import (
    count_levels,
    print_dry_run,
    print_inspection,
    print_server,
    print_status,
    print_table,
    status_json,
)
from tests.plan.test_plan import make_spec

RUN = RunPaths(Path("/my runs/run/20260101-000000-aaaa"))
Out = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("errors", "warnings", "text"),
    [(0, 0, "0 errors, 0 warnings"), (1, 2, "1 error, 2 warnings"), (2, 1, "2 errors, 1 warning")],
)
def test_findings_are_counted_by_level_and_notes_are_none(
    errors: int, warnings: int, text: str
) -> None:
    found = [error("a", "b")] * errors + [warning("a", "b")] * warnings + [note("a", "b")]
    assert count_levels(found) == text


def test_a_dry_run_shows_each_script_each_job_and_each_finding(capsys: Out) -> None:
    staged = stage(make_spec(tasks="one"), Site(runs_dir="/r"), "slurm", None)
    print_dry_run(staged, [warning("train.a", "careful")], False)
    out = capsys.readouterr().out
    for name, text in staged.scripts.items():
        assert f"==> {staged.run.script(name)} <==\n{text}" in out
    assert "plan of run (slurm): 10 steps, 3 checkpoints, 6 cells" in out
    assert "  eval-checkpoint-4 [1 tasks]: " in out and "; after afterok train" in out
    waits = (
        "; after afterany train, afterany eval-checkpoint-4, afterany eval-checkpoint-8, … 2 more"
    )
    assert any(line.startswith("  collect: ") and line.endswith(waits) for line in out.splitlines())
    assert out.splitlines()[-2:] == [
        "warning: train.a: careful",
        "dry run: nothing was submitted or written (0 errors, 1 warning)",
    ]
    print_dry_run(staged, [warning("train.a", "careful")], True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["plan"]["total_steps"] == 10
    assert shown["scripts"] == staged.scripts
    assert [f["place"] for f in shown["findings"]] == ["train.a"]


def status(**given: Any) -> Any:
    cell = Cell(checkpoint="checkpoint-4", benchmark="gsm8k")
    manifest = SimpleNamespace(job_id=lambda name: {"train": "7", "eval": "8"}.get(name))
    base = {
        "run": RUN, "manifest": manifest, "ended": False, "problem": "", "train": {}, "server": {},
        "jobs": {"train": [JobState("running")], "eval": [JobState("failed", "TIMEOUT")] * 3,
                 "close": [JobState("unknown", "never submitted")]},
        "cells": [CellStatus(cell, "failed", "why", "/its.log")],
    }  # fmt: skip
    return SimpleNamespace(**base | given)


def test_the_state_says_each_kind_of_task_once_and_every_cell_with_its_reason(capsys: Out) -> None:
    print_status(status())
    assert capsys.readouterr().out.splitlines() == [
        "run/20260101-000000-aaaa  /my runs/run/20260101-000000-aaaa",
        "  train: job 7: running",
        "  eval: job 8: failed: TIMEOUT",
        "  close: job -: unknown: never submitted",
        "  checkpoint-4 x gsm8k: failed: why",
    ]


def test_training_that_has_begun_says_how_far_it_is(capsys: Out) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    train = {"state": "running", "step": 20, "max_steps": 100, "loss": 1.5, "updated": now}
    print_status(status(train=train))
    assert "    running  step 20/100  loss 1.5  updated " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ended", "server", "line"),
    [
        (False, {"state": "starting"}, "  server: starting"),
        (False, {"state": "ready", "base_url": "http://h:1/v1"}, "  server: ready: http://h:1/v1"),
        (True, {"state": "ready", "base_url": "http://h:1/v1"}, "  server: gone: http://h:1/v1"),
        (True, {"state": "failed", "reason": "no kernel"}, "  server: failed: no kernel"),
        (True, {"state": "stopped", "reason": "cancelled"}, "  server: stopped: cancelled"),
    ],
)
def test_a_server_whose_job_has_ended_is_not_called_ready(
    capsys: Out, ended: bool, server: dict[str, str], line: str
) -> None:
    print_status(status(ended=ended, server=server))
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_the_state_for_programs_holds_every_task_and_log() -> None:
    found = json.loads(json.dumps(status_json(status(problem="controller down"))))
    assert (found["run"], found["ended"], found["problem"]) == (
        str(RUN.root),
        False,
        "controller down",
    )
    assert found["jobs"]["eval"] == [{"phase": "failed", "detail": "TIMEOUT"}] * 3
    assert found["cells"] == [
        {"checkpoint": "checkpoint-4", "benchmark": "gsm8k", "state": "failed", "reason": "why",
         "log": "/its.log"}
    ]  # fmt: skip


READY = {"base_url": "http://127.0.0.1:8123/v1", "node": platform.node(), "model": "m'o\"del é",
         "start_seconds": 12.4, "loopback": True, "authenticated": True, "job_id": "7"}  # fmt: skip


def server_lines(capsys: Out, key: str | None, **state: Any) -> list[str]:
    print_server(RUN, key, READY | state, False)
    return capsys.readouterr().out.splitlines()


def test_the_curl_line_survives_a_shell_and_the_key_is_in_no_argument(
    capsys: Out, tmp_path: Path
) -> None:
    key = tmp_path / "it's a key é"
    key.write_text("secret\n")
    (line,) = [x for x in server_lines(capsys, str(key)) if x.startswith("curl")]
    # A curl that shows what it is given, and what it reads from the pipe.
    program = 'curl() { printf "%s\\0" "$@"; for a; do [[ $a == @* ]] && cat "${a#@}"; done; }'
    done = subprocess.run(["bash", "-c", f"{program}; {line}"], capture_output=True, text=True)
    *words, header = done.stdout.split("\0")
    assert words[:2] == ["-s", "http://127.0.0.1:8123/v1/chat/completions"]
    assert json.loads(words[words.index("-d") + 1])["model"] == READY["model"]
    assert header == "Authorization: Bearer secret"
    assert not any("secret" in word for word in words)


def test_without_a_key_it_is_said_who_can_reach_the_server(capsys: Out) -> None:
    lines = server_lines(capsys, None)
    assert lines[0] == "ready after 12 s: http://127.0.0.1:8123/v1"
    assert f"key:   none: every user of {platform.node()} can reach it" in lines
    assert "Authorization" not in "".join(lines)
    assert not any("ssh" in line for line in lines)
    assert lines[-1] == "stop:  python -m harness cancel 20260101-000000-aaaa"


def test_a_server_on_another_machines_loopback_comes_with_the_tunnel(capsys: Out) -> None:
    tunnel = "it listens on other only; from here: ssh -L 8123:127.0.0.1:8123 other"
    assert tunnel in server_lines(capsys, None, node="other")
    assert tunnel not in server_lines(capsys, None, node="other", loopback=False)


def test_a_server_for_programs_is_one_line_without_the_key_itself(capsys: Out) -> None:
    print_server(RUN, "/k", READY, True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "run": str(RUN.root), "key_file": "/k",
        **{name: READY[name] for name in READY if name != "start_seconds"},
    }  # fmt: skip


def test_a_table_comes_with_what_is_not_ok_and_the_files_that_are_there(
    capsys: Out, tmp_path: Path
) -> None:
    row = Row.of("r", "base", 0, {"gsm8k": {"pass@1": {"symbolic_correct": 0.0}}})
    table = Table((row,), (Problem("base", "mmlu", "failed", "why"),), 2, ("a note",))
    (tmp_path / "results.csv").write_text("")
    files = [tmp_path / "results.csv", tmp_path / "absent.png"]
    print_table(table, files, False)
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "2 cells: 1 ok, 1 failed", "  base x mmlu: failed: why", "  note: a note", str(files[0]),
    ]  # fmt: skip
    print_table(table, files, True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["rows"] == [
        {"run": "r", "checkpoint": "base", "step": 0, "gsm8k/pass@1/symbolic_correct": 0.0}
    ]
    assert (shown["complete"], shown["notes"]) == (False, ["a note"])
    assert shown["problems"][0]["reason"] == "why"


SEEN = Inspection(
    folder="/d é", rows=1234, columns=("messages", "id"),
    roles={"messages": {"user": 2000, "assistant": 1}}, turns={"messages": {4: 1, 2: 1233}},
    shown=(ShownRow(number=7, spans=(("Who? [b]", False), ("me\x1b[31m", True), ("\n", False))),),
    findings=(error("a", "b"),),
)  # fmt: skip


def test_rows_are_shown_with_their_trained_part_marked_and_no_escape_reaches_the_terminal(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    print_inspection(SEEN, False)
    assert capsys.readouterr().out.splitlines() == [
        "/d é: 1,234 rows; columns: messages, id",
        "messages: messages by role: user 2,000, assistant 1",
        "messages: rows by number of messages: 2: 1,233, 4: 1",
        "--- row 7: trained text in [[ ]]",
        "Who? [b][[me␛[31m]]", "", "error: a: b", "1 error, 0 warnings",
    ]  # fmt: skip


def test_nothing_that_a_dataset_holds_moves_the_terminal(capsys: Out) -> None:
    bad = "\x1b]0;title\x07\x9b31m\r\u202e"
    seen = SEEN.model_copy(
        update={
            "folder": bad, "columns": (bad,), "roles": {bad: {bad: 1}}, "turns": {bad: {2: 1}},
            "shown": (ShownRow(number=1, spans=((bad, True),)),), "findings": (error(bad, bad),),
        }
    )  # fmt: skip
    print_inspection(seen, False)
    out = capsys.readouterr().out
    assert all(char == "\n" or char.isprintable() for char in out)
    assert out.count("␛]0;title␇\\u009b31m␍\\u202e") >= 7


def test_nothing_in_a_tables_problems_and_notes_moves_the_terminal(capsys: Out) -> None:
    bad = "\x1b[2J\x9b31m"
    row = Row.of("r", "base", 0, {"gsm8k": {"pass@1": {"symbolic_correct": 0.0}}})
    problem = Problem(bad, bad, "failed", bad, f"/{bad}", f"run {bad}")
    print_table(Table((row,), (problem,), 0, (bad,)), [], False)
    out = capsys.readouterr().out
    assert all(char == "\n" or char.isprintable() for char in out)
    assert "  run ␛[2J\\u009b31m ␛[2J" in out, "the run is named where there are several"


def test_rows_for_programs_are_as_they_are(capsys: Out) -> None:
    print_inspection(SEEN, True)
    found = json.loads(capsys.readouterr().out)
    assert found["shown"][0]["spans"][1] == ["me\x1b[31m", True]
    assert (found["rows"], found["share_cut"]) == (1234, None)
