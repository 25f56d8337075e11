"""However tokenising ends, nothing of it runs on; while it runs, it shows how far it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support import ROOT

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.arguments import parse
from harness.compute.train.rows import progress as progress_module
from harness.compute.train.rows import tokenise
from harness.compute.train.rows import tokenised as rows_module
from harness.compute.train.stop import StopRequest
from harness.errors import TrainingError
from tests.tiny_model import make_tiny_dataset, make_tiny_model

pytestmark = pytest.mark.long

PROJECT = ROOT
TEMPLATE = PROJECT / "templates" / "chat" / "qwen3_nonthinking.jinja"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 20_000)
    return folder


def arguments(inputs: Path, out: Path) -> list[str]:
    return [
        "--model_name", str(inputs / "model"), "--dataset_name", str(inputs / "data"),
        "--output_dir", str(out), "--max_length", "48", "--assistant_only_loss", "True",
        "--chat_template_path", str(TEMPLATE), "--use_cpu", "True", "--bf16", "False",
        "--report_to", "none", "--dataset_num_proc", "2",
    ]  # fmt: skip


def of_this(out: Path) -> list[psutil.Process]:
    """The process that tokenises into a folder, and its workers."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            alive = process.status() != psutil.STATUS_ZOMBIE
            if (
                alive
                and "harness.compute.train.rows.tokenise" in " ".join(words)
                and str(out) in words
            ):
                found.append(process)
    return found


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def working(out: Path) -> bool:
    """Whether rows are being done: the main process, its two workers and their manager."""
    return len(of_this(out)) >= 4 and bool(list((out / "tokenised").glob("*.alive")))


def workers(out: Path) -> list[psutil.Process]:
    found = of_this(out)
    main = next(p for p in found if p.ppid() not in {q.pid for q in found})
    # The manager was started after the pool.
    return sorted(main.children(), key=lambda p: p.pid)[:2]


@pytest.mark.parametrize("how", ["stuck", "dead"])
def test_a_worker_that_is_stuck_or_dead_fails_the_training_and_leaves_no_process(
    inputs: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "stuck":
        monkeypatch.setattr(rows_module, "SILENT_S", 8.0)
    number = signal.SIGSTOP if how == "stuck" else signal.SIGKILL

    def harm() -> None:
        until(lambda: working(tmp_path), 120)
        for worker in workers(tmp_path)[how == "dead" :]:
            worker.send_signal(number)

    thread = threading.Thread(target=harm)
    thread.start()
    argv = arguments(inputs, tmp_path)
    words = "got no row done" if how == "stuck" else "one of its processes died"
    with pytest.raises(TrainingError, match=words):
        rows_module.tokenised_rows(*parse(argv), StopRequest(), argv)
    thread.join()
    assert of_this(tmp_path) == []


def test_killed_with_its_starter_it_leaves_no_process(inputs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from harness.compute.train.rows.tokenised import tokenised_rows;"
        "from harness.compute.train.arguments import parse;"
        "from harness.compute.train.stop import StopRequest;"
        "tokenised_rows(*parse(sys.argv[1:]), StopRequest(), sys.argv[1:])"
    )
    rank = subprocess.Popen([sys.executable, "-c", code, *arguments(inputs, tmp_path)], cwd=PROJECT)
    try:
        until(lambda: working(tmp_path), 120)
    finally:
        rank.kill()
        rank.wait()
    until(lambda: not of_this(tmp_path), 20)


def test_told_to_stop_while_workers_run_it_leaves_no_process(inputs: Path, tmp_path: Path) -> None:
    request = StopRequest()

    def stop() -> None:
        until(lambda: working(tmp_path), 120)
        request.received = signal.SIGUSR2

    thread = threading.Thread(target=stop)
    thread.start()
    argv = arguments(inputs, tmp_path)
    assert rows_module.tokenised_rows(*parse(argv), request, argv) is None
    thread.join()
    assert of_this(tmp_path) == []


def test_progress_is_lines_and_no_bars(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "LINE_S", 0.2)
    script, config = parse([*arguments(inputs, tmp_path), "--max_samples", "4000"])
    tokenise.make(script, config)
    shown = capfd.readouterr()
    assert "it/s" not in shown.err + shown.out
    assert "%|" not in shown.err + shown.out
    assert " of 4,000 rows, " in shown.out
    assert " rows/s, 0:00:" in shown.out


def test_a_waiting_rank_does_not_believe_the_reason_of_an_earlier_start(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = arguments(inputs, tmp_path)
    script, config = parse(argv)
    target = tokenise.place(script, config, tokenise.load_tokenizer(script, config))
    target.cache.mkdir(parents=True)
    monkeypatch.setattr(rows_module, "START_S", 3.0)
    start = tokenise.start_name(os.environ)
    for name in ("another", start):
        fault = {"reason": "old", "of_the_input": True, "start": name}
        target.problem.write_text(json.dumps(fault))
        with pytest.raises(TrainingError, match="no row done"):
            rows_module._wait(target, StopRequest())
