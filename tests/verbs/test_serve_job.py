"""`serve` while its job runs: shown when ready, and never left behind, whatever ends it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import SchedulerError, ServerError
from harness.preflight.cluster import machine
from harness.runs.checkpoints import fingerprint
from harness.runs.paths import RunPaths
from harness.scheduling import serving
from tests.preflight.support import MARKED, model
from tests.verbs.test_common import command

Out = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a site file, a model of the name `a model`, and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_SITE", raising=False)
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"scheduler": "local", "runs_dir": "runs"}))
    folder = model(tmp_path / "a model")
    (folder / "chat_template.jinja").write_text(MARKED)
    return tmp_path


class Follower:
    """Stands for the job: ready, then over, or whatever a test raises."""

    before: BaseException | None = None
    after: BaseException | None = None
    stopped: list[RunPaths]

    def __init__(self, run: RunPaths, report: Any) -> None:
        self.run = run

    def until_ready(self) -> dict[str, Any]:
        if self.before:
            raise self.before
        return {"base_url": "http://127.0.0.1:1/v1", "node": "n", "model": "m", "job_id": "1",
                "authenticated": False, "loopback": True, "start_seconds": 1}  # fmt: skip

    def until_end(self) -> None:
        if self.after:
            raise self.after

    def stop(self) -> None:
        self.stopped.append(self.run)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "a second ctrl-C is ignored"


@pytest.fixture
def job(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Follower]]:
    kept = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    class Job(Follower):
        stopped: list[RunPaths] = []
        staged: list[Any] = []

    def submit(staged: Any, run_job: Any, report: Any) -> RunPaths:
        Job.staged.append(staged)
        return RunPaths(staged.run.root)

    monkeypatch.setattr(serving, "Follower", Job)
    monkeypatch.setattr(serving, "submit_serve", submit)
    yield Job
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_whoever_asks_is_told_which_weights_answer(here: Path, job: Any, capsys: Out) -> None:
    assert command("serve", "a model", "--detach", "--json") == 0
    (staged,) = job.staged
    assert staged.spec.served_name == f"a model@{fingerprint(here / 'a model')}"
    out, err = capsys.readouterr()
    assert json.loads(out)["key_file"] is None
    assert "has stopped" not in err and job.stopped == []


@pytest.mark.parametrize(
    ("before", "after", "code", "stopped"),
    [
        (None, None, 0, False),
        (None, KeyboardInterrupt(), 0, True),
        (KeyboardInterrupt(), None, 0, True),
        (SchedulerError("controller down"), None, 1, True),
        (ServerError("no such kernel"), None, 1, False),  # then the job has ended by itself
    ],
)
def test_whatever_ends_it_no_job_is_left(
    job: Any, capsys: Out, before: Any, after: Any, code: int, stopped: bool
) -> None:
    job.before, job.after = before, after
    assert command("serve", "a model") == code
    err = capsys.readouterr().err
    assert len(job.stopped) == stopped
    assert ("the server has stopped" in err) == (code == 0)
    assert before is None or not str(before) or str(before) in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_is_a_ctrl_c_unless_it_is_ignored(
    job: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def gone(self: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(job, "until_end", gone)
    signal.signal(number, signal.SIG_IGN)
    assert command("serve", "a model") == 0
    assert job.stopped == []
    signal.signal(number, signal.SIG_DFL)
    assert command("serve", "a model") == 0
    assert len(job.stopped) == 1
