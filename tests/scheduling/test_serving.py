"""A server as a job: a key of one's own, and following it until it is ready or gone."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.errors import SchedulerError, ServerError, UserError
from harness.plan.manifest import Manifest, Submission, write_manifest
from harness.plan.plan import serve_plan
from harness.runs.files import write_json, write_text
from harness.runs.paths import RunPaths
from harness.scheduling import serving
from harness.scheduling.schedulers.local_queue import Queue, QueuedJob, changing, queue_file
from harness.scheduling.serving import Follower, serve_state, submit_serve, write_key
from harness.scheduling.stage import Staged, stage_serve


def test_a_key_is_for_its_owner_alone_and_each_is_another(tmp_path: Path) -> None:
    one, two = (tmp_path / "state" / "it's keys é" / f"{n}.key" for n in "12")
    old = os.umask(0)
    try:
        write_key(one)
        write_key(two)
    finally:
        os.umask(old)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    keys = [path.read_text().strip() for path in (one, two)]
    assert keys[0] != keys[1] and all(len(key) >= 32 for key in keys)


def test_a_key_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_text(tmp_path / "k", "another's")
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "k")
    assert (tmp_path / "k").read_text() == "another's"


SPEC = ServeSpec(name="serve-m", model="/models/m", served_name="m")


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staged:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return stage_serve(SPEC, Site(runs_dir=str(tmp_path / "runs")), "local")


def key_of(staged: Staged) -> Path:
    assert isinstance(staged.spec, ServeSpec) and staged.spec.key_file
    return Path(staged.spec.key_file)


def submitted(error: BaseException | None, seen: list[bool]) -> Callable[..., RunPaths]:
    def submit(staged: Staged, run_job: Any, report: Any) -> RunPaths:
        seen.append(key_of(staged).is_file())
        if error:
            raise error
        return staged.run

    return submit


def test_the_key_is_there_before_the_job_is_submitted(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(serving, "submit", submitted(None, seen))
    assert submit_serve(staged, lambda *_: "", print) == staged.run
    assert seen == [True] == [key_of(staged).is_file()]


@pytest.mark.parametrize("error", [UserError("refused"), KeyboardInterrupt()])
def test_what_fails_leaves_no_key(
    staged: Staged, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(serving, "submit", submitted(error, []))
    with pytest.raises(type(error)):
        submit_serve(staged, lambda *_: "", print)
    assert not key_of(staged).exists()


def test_a_key_that_cannot_be_written_is_one_message_and_no_job(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    seen: list[bool] = []
    monkeypatch.setattr(serving, "submit", submitted(None, seen))
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(
        UserError, match=r"the server's key cannot be written: .*No space"
    ) as caught:
        submit_serve(staged, lambda *_: "", print)
    assert str(caught.value).startswith(f"{key_of(staged)}: ")
    assert seen == []


@pytest.mark.parametrize("kind", ["a-key", "below-a-file"])
def test_what_is_in_the_keys_place_is_left_as_it_is(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mine = tmp_path / "mine"
    write_text(mine, "another's")
    path = mine if kind == "a-key" else mine / "keys" / "k"
    spec = staged.spec.model_copy(update={"key_file": str(path)})
    seen: list[bool] = []
    monkeypatch.setattr(serving, "submit", submitted(None, seen))
    with pytest.raises(UserError, match="the server's key cannot be written") as caught:
        submit_serve(dataclasses.replace(staged, spec=spec), lambda *_: "", print)
    assert str(caught.value).startswith(f"{path}: ")
    assert mine.read_text() == "another's"
    assert seen == []


def test_a_key_that_is_cut_short_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(serving.secrets, "token_urlsafe", full)
    with pytest.raises(OSError, match="No space"):
        serving.write_key(tmp_path / "keys" / "k")
    assert list((tmp_path / "keys").iterdir()) == []


class Job:
    """The run of a served model whose job is in the local queue, with a runner that lives."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "key"
        write_text(self.key, "secret")
        self.run = RunPaths(folder / "serve-m" / "20260101-000000-aaaa")
        spec = SPEC.model_copy(update={"key_file": str(self.key)})
        write_text(self.run.spec, spec.model_dump_json())
        write_manifest(
            self.run,
            Manifest(run_id=self.run.run_id, created="", scheduler="local",
                     plan=serve_plan(spec, Site()),
                     submissions=(Submission(job="serve", id="1", time=""),)),
        )  # fmt: skip
        job = QueuedJob(
            id="1", name="serve", script="s", array=False, minutes=1, phases=("running",)
        )
        queue = Queue(jobs=(job,), runner_pid=os.getpid(),
                      runner_started=psutil.Process().create_time())  # fmt: skip
        write_json(queue_file(self.run), queue.model_dump(mode="json"))
        self.lines: list[str] = []
        self.follower = Follower(self.run, self.lines.append)

    def ends(self, phase: Any, detail: str = "") -> None:
        with changing(self.run) as box:
            box[0] = box[0].with_job(box[0].jobs[0].with_task(0, phase, detail))

    def says(self, state: str, **facts: Any) -> None:
        write_json(self.run.serve_state, {"state": state, **facts})

    def prints(self, text: str) -> None:
        log = self.run.logs("serve") / "1_0_log.out"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(text.encode())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(serving, "POLL_S", 0.01)
    monkeypatch.setattr(serving, "ASK_S", {"local": 0.0, "slurm": 0.0})
    return Job(tmp_path)


def test_before_it_has_begun_nothing_is_known_of_a_server(job: Job) -> None:
    assert serve_state(job.run) == {}
    job.says("starting")
    assert serve_state(job.run) == {"state": "starting"}


def test_the_state_of_a_ready_server_comes_back_with_what_it_waited_for(job: Job) -> None:
    job.prints("other: words\nvllm (12 s): loading weights\nvllm (13 s): half a li")
    job.follower._print_log()
    assert job.lines == ["vllm (12 s): loading weights"]
    job.prints("ne\n")
    job.says("ready", base_url="http://h:1/v1")
    assert job.follower.until_ready() == {"state": "ready", "base_url": "http://h:1/v1"}
    assert job.lines[1:] == ["vllm (13 s): half a line"]
    assert job.key.exists()


def test_a_server_that_fails_before_it_is_ready_says_why_and_leaves_no_key(job: Job) -> None:
    job.says("failed", reason="no such kernel")
    job.ends("failed", "exit 1")
    with pytest.raises(ServerError, match=r"^no such kernel$"):
        job.follower.until_ready()
    assert job.lines == ["job 1: failed: exit 1"]
    assert not job.key.exists()


def test_a_job_that_ended_without_a_word_is_told_with_its_log(job: Job) -> None:
    job.says("starting")
    job.ends("failed", "TIMEOUT")
    with pytest.raises(ServerError) as caught:
        job.follower.until_ready()
    log = job.run.logs("serve")
    assert str(caught.value) == f"job 1 ended (failed: TIMEOUT)\nlog: {log}"


@pytest.mark.parametrize(
    ("state", "fine"), [("stopped", True), ("failed", False), ("ready", False)]
)
def test_the_end_is_fine_only_where_it_was_stopped(job: Job, state: str, fine: bool) -> None:
    job.says(state, reason="why")
    job.ends("completed" if fine else "failed")
    if fine:
        job.follower.until_end()
        return
    with pytest.raises(ServerError):
        job.follower.until_end()


def test_stopping_cancels_the_job_removes_the_key_and_waits_for_its_processes(job: Job) -> None:
    """The runner says when it has ended them."""
    told: list[float] = []

    def ends() -> None:
        told.append(time.monotonic())
        job.ends("cancelled", "cancelled")

    threading.Timer(0.3, ends).start()
    job.follower.stop()
    assert told and time.monotonic() >= told[0]
    assert job.lines == ["job 1: running: being cancelled", "job 1: cancelled"]
    assert not job.key.exists()


def test_a_runner_that_died_leaves_nobody_to_say_that_all_has_ended(job: Job) -> None:
    with changing(job.run) as box:
        box[0] = box[0].model_copy(update={"runner_pid": 1, "runner_started": 1.0})
    with pytest.raises(SchedulerError, match="the local runner died: what job 1 started may still"):
        job.follower.stop()


def test_a_job_that_stays_is_an_error(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STOP_S", 0.02)
    monkeypatch.setattr(serving, "cancel_run", lambda run: [])
    with pytest.raises(SchedulerError, match="job 1 was cancelled and is still there"):
        job.follower.stop()


def test_a_state_is_told_once_and_a_scheduler_that_cannot_be_asked_ends_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert not job.follower._look().ended

    def down(ids: Any) -> Any:
        raise SchedulerError("controller down")

    monkeypatch.setattr(job.follower._scheduler, "states", down)
    for _ in range(3):
        assert job.follower._look().phase == "running"
    assert job.lines == ["job 1: running", "the scheduler cannot be asked: controller down"]
