"""A process of ours alone, without a server in it: its log, its end, and what it started."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import ServerError
from harness.processes.supervised import SupervisedProcess, tail
from tests.processes.support import gone, number_in, until

Start = Callable[..., SupervisedProcess]
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[SupervisedProcess] = []

    def shell(code: str, *words: str, grace_s: float = 20.0, **env: str) -> SupervisedProcess:
        process = SupervisedProcess(
            ["sh", "-c", code, "sh", *words],
            {"PATH": os.environ["PATH"], **env},
            tmp_path / "a folder" / "log",
            marker=f"{tmp_path}-{len(started)}",
            secrets=["a-key"],
            grace_s=grace_s,
        )
        started.append(process)
        return process

    yield shell
    for process in started:
        process.stop()


def ready(process: SupervisedProcess) -> None:
    until(lambda: "ready" in process.output())


def test_what_runs_gets_its_arguments_whole_and_only_the_environment_given(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_OURS", "x")
    process = start('printf "[%s]" "$@" "$MINE" "$OF_OURS"', "a  b", "'", "é\n", MINE='"m"')
    until(lambda: not process.alive())
    process.stop()
    assert process.output() == '[a  b][\'][é\n]["m"][]'
    assert process.exit_code == 0


def test_the_log_is_the_owners_without_secrets_and_kept_over_starts(start: Start) -> None:
    first = start("echo 'the key is a-key'; exit 3")
    until(lambda: not first.alive())
    first.stop()
    assert first.exit_code == 3
    assert stat.S_IMODE(first.log_path.stat().st_mode) == 0o600
    second = start("echo of today")
    until(lambda: not second.alive())
    second.stop()
    assert second.output() == second.tail() == "of today"
    assert second.log_path.read_text() == "the key is ***\nof today\n"


def test_a_program_that_cannot_be_executed_is_an_error_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ServerError) as caught:
        SupervisedProcess([str(tmp_path / "no such")], {}, log, marker="m")
    assert caught.value.log == log
    text = str(caught.value)
    assert text.startswith("the server cannot be started: [Errno 2] No such file")
    assert str(tmp_path / "no such") in text
    assert text.endswith(f"\nlog: {log}")


def test_all_that_it_started_belongs_to_it_and_ends_with_it(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "daemon"
    process = start('setsid sh -c \'sleep 60 & echo $! > "$1"\' sh "$1" & sleep 60', str(note))
    daemon = number_in(note)
    assert process.alive()
    assert {process.pid, daemon} <= process.tree()
    process.stop()
    assert not process.alive()
    assert gone(process.pid) and gone(daemon)
    assert process.tree() == set()
    assert process.exit_code == -signal.SIGTERM


def test_who_is_deaf_is_killed_after_the_grace(start: Start) -> None:
    process = start(DEAF, grace_s=0.1)
    ready(process)
    began = time.monotonic()
    process.stop()
    assert time.monotonic() - began < 10
    assert process.exit_code == -signal.SIGKILL
    assert gone(process.pid)


def test_it_may_be_stopped_again_and_by_several_at_once(start: Start) -> None:
    process = start("exec sleep 60")
    problems: list[BaseException] = []

    def stop() -> None:
        try:
            process.stop()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.stop()
    assert problems == []
    assert process.exit_code == -signal.SIGTERM


def test_with_a_supervisor_that_was_killed_it_does_not_live_and_leaves_nothing(
    start: Start, tmp_path: Path
) -> None:
    note = tmp_path / "daemon"
    code = 'setsid sh -c \'trap "" TERM; echo $$ > "$1"; sleep 60\' sh "$1" & sleep 60'
    process = start(code, str(note))
    daemon = number_in(note)
    os.kill(psutil.Process(process.pid).ppid(), signal.SIGKILL)
    until(lambda: not process.alive())
    process.stop()
    assert gone(process.pid) and gone(daemon)
    assert process.exit_code is None  # nobody saw it


def test_what_another_process_started_is_left_alone(start: Start) -> None:
    one, other = start("exec sleep 60"), start("exec sleep 60")
    os.kill(psutil.Process(one.pid).ppid(), signal.SIGKILL)
    one.stop()
    assert other.alive()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "(the log is empty)"),
        ("\n", "(the log is empty)"),
        ("one\ntwo\nthree", "two\nthree"),
        ("one\ntwo\n\n", "two\n"),
        ("a\r\nb\rc", "b\nc"),
    ],
)
def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "log").write_text(text, newline="")
    assert tail(tmp_path / "log", lines=2) == expected


def test_the_tail_begins_where_it_is_told_and_takes_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"old\n\xff\xe9 new\n")
    assert tail(tmp_path / "log", start=4) == "\ufffd\ufffd new"
    assert tail(tmp_path / "log", start=99) == "(the log is empty)"


def test_a_long_log_is_read_from_near_its_end(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"first\n" + b"x" * (1 << 18) + b"\nlast\n")
    assert tail(tmp_path / "log").endswith("x\nlast")
    assert "first" not in tail(tmp_path / "log")


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    found = tail(tmp_path / "absent")
    assert found.startswith("(no log: [Errno 2]")
    assert str(tmp_path / "absent") in found
