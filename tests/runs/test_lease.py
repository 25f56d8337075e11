"""A folder of checkpoints has one writer; another takes over when it is gone, and only then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ResultError, TrainingError
from harness.runs import lease as lease_module
from harness.runs.lease import Lease, Writer, lives, read_writer, this_writer

CLUSTER = {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "c"}
HOLDER = """
import sys, time
from pathlib import Path
from harness.runs.lease import Lease, this_writer
with Lease(Path(sys.argv[1]), this_writer(sys.argv[2], "x", {})):
    print("held", flush=True)
    time.sleep(600)
"""


def writer(run: str = "b", attempt: str = "1") -> Writer:
    return this_writer(run, attempt, {})


def elsewhere(run: str = "a") -> Writer:
    return replace(writer(run), host="node7", machine="another boot", pid=1)


def leave(folder: Path, other: Writer) -> None:
    """The lease as a writer that did not let go left it."""
    with Lease(folder, other):
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "GONE_S", 0.3)
    monkeypatch.setattr(lease_module, "_BEAT_S", 0.05)
    monkeypatch.setattr(lease_module, "_SAME_RUN_S", 0.2)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder for run `a`."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path), "a"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_writer_says_who_it_is() -> None:
    found = this_writer("r", "slurm-7-0", {**os.environ, **CLUSTER})
    assert (found.pid, found.job_id, found.cluster) == (os.getpid(), "7", "c")
    assert lives(found)
    # The local scheduler sets a job's id, too, and it means nothing to Slurm.
    assert this_writer("r", "x", {"SLURM_JOB_ID": "7"}).job_id == ""


def test_a_folder_that_is_held_is_refused_and_says_by_whom(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(TrainingError, match=rf"run a \(.*process {holder.pid}\) writes its check"):
        Lease(tmp_path, writer()).__enter__()
    assert read_writer(tmp_path) != writer()


def test_a_killed_writer_is_taken_over_at_once(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lease(tmp_path, writer()) as lease:
        assert lease.held


def test_a_process_that_only_has_the_same_number_is_another(tmp_path: Path) -> None:
    reused = replace(writer("a"), started=1.0)
    leave(tmp_path, reused)
    assert lives(reused) is False
    with Lease(tmp_path, writer()) as lease:
        assert lease.held


def test_an_earlier_start_of_the_same_run_is_waited_for(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    threading.Timer(1.0, holder.kill).start()
    threading.Thread(target=holder.wait).start()
    with Lease(tmp_path, writer("a", "2")) as lease:
        assert lease.held


@pytest.mark.usefixtures("impatient")
def test_one_that_does_not_end_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(TrainingError, match="writes its checkpoints here"):
        Lease(tmp_path, writer("a", "2")).__enter__()


def test_the_same_run_goes_on_on_another_node(tmp_path: Path) -> None:
    leave(tmp_path, elsewhere("b"))
    with Lease(tmp_path, writer("b", "2"), is_alive=lambda other: None) as lease:
        assert lease.held


@pytest.mark.parametrize("alive", [True, False])
def test_of_a_writer_elsewhere_somebody_else_is_asked(tmp_path: Path, alive: bool) -> None:
    leave(tmp_path, elsewhere())
    lease = Lease(tmp_path, writer(), is_alive=lambda other: alive)
    if alive:
        with pytest.raises(TrainingError, match=r"run a \(node7"):
            lease.__enter__()
    else:
        with lease:
            assert lease.held


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("beats", [True, False])
def test_where_nobody_can_tell_it_is_watched(tmp_path: Path, beats: bool) -> None:
    leave(tmp_path, elsewhere())
    told: list[str] = []
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.05):
            os.utime(tmp_path / ".writer.json")

    other = threading.Thread(target=beat)
    if beats:
        other.start()
    try:
        lease = Lease(tmp_path, writer(), is_alive=lambda other: None, say=told.append)
        if beats:
            with pytest.raises(TrainingError, match="writes its checkpoints here"):
                lease.__enter__()
        else:
            with lease:
                assert lease.held
    finally:
        ended.set()
    assert "watching for" in told[0]


@pytest.mark.usefixtures("impatient")
def test_a_held_folder_is_touched_until_it_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / ".writer.json"
    with Lease(tmp_path, writer()) as lease:
        before = file.stat().st_mtime_ns
        deadline = time.monotonic() + 20
        while file.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lease.let_go()
    assert not file.exists()


def test_who_was_taken_over_sees_it_and_does_not_let_go_for_the_other(tmp_path: Path) -> None:
    newer = Lease(tmp_path, writer(), is_alive=lambda other: False)
    with Lease(tmp_path, elsewhere()) as lease, newer:
        assert not lease.held
        lease.let_go()
        assert newer.held


@pytest.mark.parametrize("text", ["", "[]", '{"run": "a"}', '{"pid": '])
def test_a_lease_that_cannot_be_read_is_not_nobodys(tmp_path: Path, text: str) -> None:
    (tmp_path / ".writer.json").write_text(text)
    with pytest.raises(ResultError, match=r"\.writer\.json"):
        Lease(tmp_path, writer()).__enter__()


def test_a_field_of_a_later_version_is_no_harm(tmp_path: Path) -> None:
    leave(tmp_path, writer("a"))
    file = tmp_path / ".writer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "red"}))
    assert read_writer(tmp_path) == writer("a")


def test_of_many_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    started = [
        subprocess.Popen([*argv, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    try:
        deadline = time.monotonic() + 60
        while sum(p.poll() is None for p in started) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        living = [p for p in started if p.poll() is None]
        assert len(living) == 1
        assert living[0].stdout is not None
        assert living[0].stdout.readline() == "held\n"
        for process in started:
            if process is not living[0]:
                assert "writes its checkpoints here" in process.communicate()[1]
    finally:
        for process in started:
            process.kill()
            process.communicate()
