"""A server that is killed or hangs in the middle of a cell: started again, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.benchmarks.prepare import prepare
from harness.compute.evaluate import restart
from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.restart import generate_all
from harness.compute.serve import ServeRequest, watch
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import ServerError
from harness.plan.plan import Cell
from harness.runs.metrics import read_metrics, read_task
from harness.runs.paths import CellPaths
from tests.compute.serve.fake_server_request import request
from tests.compute.serve.test_transformers import NEEDED, PROGRAM

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("math_verify", reason="needs the extra `eval`")


def cell(folder: Path, items: int, **fields: Any) -> CellWork:
    prepare("arithmetic", folder / "benchmarks")
    sampling = Sampling(temperature=0, max_tokens=24)
    return CellWork(
        cell=Cell(checkpoint="checkpoint-5", benchmark="arithmetic"),
        paths=CellPaths(folder / "cell"),
        evaluation=EvaluationSpec(
            benchmarks=("arithmetic",), max_items=items, concurrency=2, sampling=sampling
        ),
        benchmarks_dir=folder / "benchmarks",
        fingerprint="abc",
        log="log",
        job_id="7",
        **fields,
    )


def rows(work: CellWork) -> list[dict[str, Any]]:
    if not work.paths.partial().is_file():
        return []
    text = work.paths.partial().read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Act once the condition holds, in a thread; gives up after two minutes."""

    def run() -> None:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def server_processes(command: str) -> list[psutil.Process]:
    """Servers below us whose command line holds a text, not their supervisors."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # zombies too
            if command in " ".join(process.cmdline()):
                found.append(process)
    return found


def signal_server(number: signal.Signals, command: str = "fake_server.py") -> None:
    for process in server_processes(command):
        os.kill(process.pid, number)


def test_a_killed_server_is_started_again_and_the_answers_go_on(tmp_path: Path) -> None:
    work = cell(tmp_path, 12)
    early: list[dict[str, Any]] = []

    def kill() -> None:
        early.extend(rows(work))
        signal_server(signal.SIGKILL)

    killer = when(lambda: len(rows(work)) >= 4, kill)
    generate_all([work], request(tmp_path, slow=0.2), restarts=1)
    killer.join()
    there = rows(work)
    assert len(early) >= 4
    assert there[: len(early)] == early  # kept, not asked again
    assert len({row["id"] for row in there if "error" not in row}) == 12
    assert len([row for row in there if "error" not in row]) == 12
    work.grade()
    record = read_task(work.paths)
    assert record is not None
    assert record.facts["restarts"] == 1
    assert read_metrics(work.paths.metrics)["arithmetic"]["pass@1"]["num_entries"] == 12
    assert not server_processes("fake_server.py")


def test_beyond_the_limit_the_task_fails_and_names_the_log(tmp_path: Path) -> None:
    work = cell(tmp_path, 40)
    over = threading.Event()

    def keep_killing() -> None:
        known = 0
        while not over.wait(0.05):
            there = len(rows(work))
            if there > known:  # new answers: it is in use, so it was ready
                known = there + 2  # what was under way may still come
                signal_server(signal.SIGKILL)

    killer = threading.Thread(target=keep_killing, daemon=True)
    killer.start()
    try:
        with pytest.raises(ServerError, match=r"started again 1 of 1 times") as caught:
            generate_all([work], request(tmp_path, slow=0.5), restarts=1)
    finally:
        over.set()
        killer.join()
    assert caught.value.log == tmp_path / "logs" / "server.log"
    assert str(caught.value.log) in str(caught.value)
    assert work.restarts == 1


def test_a_hanging_server_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def hasty(*args: Any, **kwargs: Any) -> Any:
        return watch(*args, **kwargs, interval_s=0.3, hang_s=2.0)

    monkeypatch.setattr(restart, "watch", hasty)
    work = cell(tmp_path, 8)
    stopper = when(lambda: len(rows(work)) >= 2, lambda: signal_server(signal.SIGSTOP))
    generate_all([work], request(tmp_path, slow=0.2), restarts=1)
    stopper.join()
    assert len({row["id"] for row in rows(work) if "error" not in row}) == 8
    assert work.restarts == 1
    assert "/health has not answered for 2 s" in capfd.readouterr().err
    assert not server_processes("fake_server.py")


def test_errors_of_a_dying_server_are_not_kept_as_answers(tmp_path: Path) -> None:
    """The front end lives on and answers 500, as vLLM's does after its engine has died."""
    sick = tmp_path / "sick"
    work = cell(tmp_path, 6)
    dying = when(lambda: len(rows(work)) >= 2, sick.touch)
    healed = when(lambda: any("error" in row for row in rows(work)), sick_is_over(work, sick))
    generate_all([work], request(tmp_path, slow=0.1, sick_file=str(sick)), restarts=1)
    dying.join()
    healed.join()
    assert work.restarts == 1
    assert len({row["id"] for row in rows(work)}) == 6
    assert not work.evaluator.failed_requests


def sick_is_over(work: CellWork, sick: Path) -> Callable[[], None]:
    """The next server is healthy: once the sick one is gone."""

    def act() -> None:
        (first,) = server_processes("fake_server.py")
        psutil.wait_procs([first], timeout=60)
        sick.unlink()

    return act


def test_a_server_that_never_becomes_ready_is_not_started_again(tmp_path: Path) -> None:
    work = cell(tmp_path, 4)
    with pytest.raises(ServerError, match="ended before it was ready"):
        generate_all([work], request(tmp_path, print_and_die="broken"), restarts=3)
    assert (tmp_path / "logs" / "server.log").read_text().count("broken") == 1
    assert work.restarts == 0


def test_the_second_cell_goes_on_where_it_was_and_the_first_is_left_alone(tmp_path: Path) -> None:
    first, second = cell(tmp_path / "a", 3), cell(tmp_path / "b", 8)
    killer = when(lambda: len(rows(second)) >= 3, lambda: signal_server(signal.SIGKILL))
    generate_all([first, second], request(tmp_path, slow=0.2), restarts=1)
    killer.join()
    assert (first.restarts, second.restarts) == (0, 1)
    assert (len({row["id"] for row in rows(first)}), len({row["id"] for row in rows(second)})) == (
        3,
        8,
    )


@pytest.mark.skipif(not PROGRAM.exists(), reason="transformers[serving] is not installed")
@pytest.mark.timeout(300)
def test_kill_9_of_a_real_server_in_the_middle_of_a_cell(tmp_path: Path) -> None:
    for name in NEEDED:
        pytest.importorskip(name)
    from tests.tiny_model import make_tiny_model

    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    model = make_tiny_model(tmp_path / "checkpoint-5", chat_template=template)
    work = cell(tmp_path, 16)
    asked = ServeRequest(
        engine="transformers",
        model=str(model),
        served_name="unused",
        dtype="float32",
        extra_flags={"device": "cpu"},
        ready_timeout_s=200,
        wrap=lambda argv: [sys.executable, str(PROGRAM), *argv[1:]],
        log_path=tmp_path / "server.log",
        probe_body={"temperature": 0.0},
    )
    command = f"serve {model}"
    killer = when(lambda: len(rows(work)) >= 3, lambda: signal_server(signal.SIGKILL, command))
    generate_all([work], asked, restarts=1)
    killer.join()
    assert work.restarts == 1
    work.grade()
    assert read_metrics(work.paths.metrics)["arithmetic"]["pass@1"]["num_entries"] == 16
    graded = [json.loads(line) for line in work.paths.output().read_text().splitlines()]
    assert [row["id"] for row in graded] == [item["id"] for item in work.items()]
    assert not server_processes(command)
