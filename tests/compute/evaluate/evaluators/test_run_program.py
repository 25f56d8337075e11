"""An evaluator that is a program: run to its end, or ended with all that it started, and told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.compute.evaluate.evaluators import run_program as module
from harness.compute.evaluate.evaluators.run_program import run_program
from harness.errors import EvaluationError, ServerError


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks every twentieth of a second."""
    monkeypatch.setattr(module, "_POLL_S", 0.05)


def run(log: Path, code: str, **options: Any) -> None:
    options = {"limit_s": 30.0, **options}
    run_program("prog", [sys.executable, "-u", "-c", code], dict(os.environ), log, **options)


def test_its_output_is_in_the_log_without_what_must_not_be_seen(tmp_path: Path) -> None:
    log = tmp_path / "it's a ü" / "program.log"
    code = "import sys; print('key', 'sk-' + 'secret'); print('ünd', file=sys.stderr)"
    run(log, code, hidden=["sk-secret"])
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == ["key ***", "ünd"]


def test_a_failure_has_its_code_its_log_and_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    with pytest.raises(EvaluationError) as caught:
        run(log, "import sys; print('starting'); sys.exit('no such benchmark: sums')")
    assert str(caught.value) == (
        f"prog ended with exit code 1: no such benchmark: sums; log: {log}\n"
        "its last lines:\n  starting\n  no such benchmark: sums"
    )


def test_a_failure_without_a_word_says_so(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    with pytest.raises(EvaluationError) as caught:
        run(log, "raise SystemExit(3)")
    assert str(caught.value) == f"prog ended with exit code 3: (the log is empty); log: {log}"


@pytest.mark.parametrize(
    ("name", "why"), [("absent", "No such file"), ("plain", "Permission denied")]
)
def test_a_program_that_cannot_be_started_is_no_failure_of_the_server(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "plain").write_text("no program")
    log = tmp_path / "program.log"
    with pytest.raises(EvaluationError) as caught:
        run_program("prog", [str(tmp_path / name)], dict(os.environ), log, limit_s=5.0)
    assert str(caught.value).startswith("prog cannot be started: ")
    assert why in str(caught.value) and str(caught.value).endswith(f"; log: {log}")


def test_an_earlier_run_s_words_are_kept_but_not_told_as_this_one_s(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    log.write_text("of yesterday\n")
    with pytest.raises(EvaluationError) as caught:
        run(log, "print('of today'); raise SystemExit(3)")
    assert "exit code 3" in str(caught.value) and "of today" in str(caught.value)
    assert "of yesterday" not in str(caught.value)
    assert log.read_text() == "of yesterday\nof today\n"


def test_too_long_it_is_ended_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    code = (
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); print('waiting'); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(
        EvaluationError, match=r"was still running after 3 s: waiting; log: .*program.log"
    ):
        run(tmp_path / "program.log", code, limit_s=3.0)
    assert time.monotonic() - began < 15
    assert not psutil.pid_exists(int(note.read_text()))


class DiesOnceItIsAsked:
    """A server that is dead as soon as the program has left its process id in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def raise_if_dead(self) -> None:
        if any(self.folder.iterdir()):
            raise ServerError("it died")


def test_a_dead_server_ends_it_and_is_told_as_the_server_s_fault(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    server: Any = DiesOnceItIsAsked(pids)
    code = f"import os, time; open({str(pids)!r} + f'/{{os.getpid()}}', 'w'); time.sleep(60)"
    with pytest.raises(ServerError, match="it died"):
        run(tmp_path / "program.log", code, server=server)
    (pid,) = [int(path.name) for path in pids.iterdir()]
    assert not psutil.pid_exists(pid)


def test_now_and_then_a_line_says_that_it_runs_and_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_PROGRESS_S", 0.1)
    run(tmp_path / "program.log", "import time; print('40 of 80', flush=True); time.sleep(0.3)")
    assert "prog: running for 0 s; 40 of 80\n" in capsys.readouterr().out
