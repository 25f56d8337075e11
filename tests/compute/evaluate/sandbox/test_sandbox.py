"""Hostile programs: each is contained and graded failed, and honest ones around it pass."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.graders import code as code_module
from harness.compute.evaluate.graders.code import CodeGrader
from harness.compute.evaluate.graders.ground_truth import prepare_ground_truth
from harness.compute.evaluate.sandbox import sandbox
from harness.errors import EvaluationError, ResultError

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("evalplus") is None, reason="evalplus is not installed"
    ),
]

_TASK = {
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "entry_point": "double",
    "contract": "",
    "base_input": [[1], [2]],
    "plus_input": [[3]],
    "atol": 0,
}
_HONEST = "```python\ndef double(x):\n    return x + x\n```"
# What hostile code finds when EvalPlus' guard has taken os.fork, os.kill and others away.
_RAW = "import ctypes, os, signal, sys, time\nlibc = ctypes.CDLL(None)\n"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    tasks = [{"task_id": f"T/{number}", **_TASK} for number in range(6)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return prepare_ground_truth("humaneval", folder / "tasks.jsonl", folder / "cache")


@pytest.fixture(params=["bubblewrap", "namespaces"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each hostile program meets each sandbox."""
    if request.param == "namespaces":
        monkeypatch.setattr(sandbox, "find_bwrap", lambda: (None, "not taken"))
        if refused := sandbox._namespaces_refused():
            pytest.skip(refused)
    elif sandbox.find_bwrap()[0] is None:
        pytest.skip(sandbox.find_bwrap()[1])
    return str(request.param)


@pytest.fixture
def grader(truth: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> CodeGrader:
    monkeypatch.setattr(code_module, "_OVERHEAD_S", 10.0)
    limits = sandbox.Limits(memory_bytes=1 << 30, tasks=64, tmp_bytes=32 << 20)
    return CodeGrader("humaneval", ground_truth=truth, min_time_limit=2.0, limits=limits)


def _grade(grader: CodeGrader, *programs: str, workers: int = 1) -> list[dict[str, Any]]:
    items = [{"id": f"T/{number}"} for number in range(len(programs))]
    return grader.grade(items, programs, workers=workers)


def _between_honest_ones(grader: CodeGrader, hostile: str) -> dict[str, Any]:
    """Grade honest, hostile, honest; the honest have to pass. The hostile one's row."""
    before, row, after = _grade(grader, _HONEST, f"```python\n{hostile}\n```", _HONEST)
    assert before["is_correct-plus"]
    assert after["is_correct-plus"]
    return row


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    path = tmp_path / "id_rsa"
    path.write_text("private")
    return path


def test_files_and_environment_of_the_user_are_not_there(grader: CodeGrader, secret: Path) -> None:
    ssh, home = Path.home() / ".ssh", Path.home()
    spy = f"""
import os, pathlib
def double(x):
    seen = [p for p in ({str(secret)!r}, {str(ssh)!r}, "/etc/passwd", {str(home / ".bashrc")!r})
            if os.path.exists(p)]
    seen += [n for n in os.environ if "SECRET" in n or "TOKEN" in n]
    seen += [n for n in os.listdir("/") if n in ("home", "data", "scratch", "mnt", "var", "run")]
    for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            seen += [environment] if b"hunter2" in environment.read_bytes() else []
        except PermissionError:
            pass
    return 2 * x if not seen else seen
"""
    row = _between_honest_ones(grader, spy)
    assert row["is_correct-plus"], "the program saw something"
    assert home.exists()


def test_there_is_no_network(grader: CodeGrader) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        row = _between_honest_ones(
            grader,
            f"""
import socket
def double(x):
    socket.create_connection(("127.0.0.1", {port}), timeout=1)
    return 2 * x
""",
        )
    assert row["base_status"] == "fail"


def test_nothing_outside_can_be_written(grader: CodeGrader, truth: Path) -> None:
    places = [str(truth), os.path.dirname(os.__file__), "/", "/usr", "/dev", "/proc/sys/kernel"]
    row = _between_honest_ones(
        grader,
        f"""
import io  # EvalPlus' guard takes the builtin open away
def double(x):
    for place in {places!r}:
        try:
            io.open(place + "/written", "w").write("x")
        except OSError:
            continue
        return place
    return 2 * x
""",
    )
    assert row["is_correct-plus"], "a place could be written"
    assert not (truth / "written").exists()


@pytest.mark.long
def test_a_fork_bomb_is_ended(grader: CodeGrader) -> None:
    began = time.monotonic()
    row = _between_honest_ones(grader, _RAW + "while True:\n    libc.fork()\n")
    assert not row["is_correct"]
    assert time.monotonic() - began < 90


@pytest.mark.long
def test_memory_of_many_processes_is_bounded(grader: CodeGrader) -> None:
    bomb = (
        _RAW + "for _ in range(6):\n    libc.fork()\nhog = bytearray(400 << 20)\ntime.sleep(30)\n"
    )
    assert not _between_honest_ones(grader, bomb)["is_correct"]


def test_a_filled_disk_is_the_programs_own(grader: CodeGrader) -> None:
    free = shutil.disk_usage("/tmp").free
    fill = """
import io
def double(x):
    for folder in ("/tmp", "/dev/shm", "."):
        for number in range(100):
            with io.open(f"{folder}/fill{number}", "wb") as out:
                out.write(b"x" * (8 << 20))
    return 2 * x
"""
    assert not _between_honest_ones(grader, fill)["is_correct"]
    assert free - shutil.disk_usage("/tmp").free < 500 << 20


@pytest.mark.long
def test_a_program_that_ignores_signals_times_out(grader: CodeGrader) -> None:
    deaf = _RAW + (
        "for number in range(1, 65):\n"
        "    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\n"
        "signal.signal = lambda *a: None\nsignal.setitimer = lambda *a: None\n"
        "while True:\n    pass\n"
    )
    assert _between_honest_ones(grader, deaf)["base_status"] == "timeout"


def test_a_program_that_kills_its_parent_fails_alone(grader: CodeGrader) -> None:
    killer = _RAW + "libc.kill(os.getppid(), 9)\nlibc.kill(-1, 9)\ntime.sleep(5)\n"
    row = _between_honest_ones(grader, killer)
    assert (row["base_status"], row["plus_status"]) == ("fail", "fail")


@pytest.mark.long
def test_what_a_program_leaves_running_is_gone_before_the_next(grader: CodeGrader) -> None:
    late = _RAW + (
        "if libc.fork() == 0:\n    libc.setsid()\n    time.sleep(1)\n    libc.kill(-1, 9)\n"
        "def double(x):\n    return 2 * x\n"
    )
    rows = _grade(grader, late, *[_HONEST] * 5)
    assert all(row["is_correct-plus"] for row in rows[1:])


@pytest.mark.long
def test_gigabytes_of_output_stay_inside(grader: CodeGrader) -> None:
    flood = _RAW + (
        "block = b'x' * (1 << 20)\n"
        "for _ in range(2048):\n    os.write(1, block)\n    os.write(2, block)\n"
        "while True:\n    print('x' * (1 << 20))\n"
    )
    assert not _between_honest_ones(grader, flood)["is_correct"]


def test_answers_cannot_be_written_to_a_descriptor_found_by_search(grader: CodeGrader) -> None:
    answer = {"number": 1, "answer": {"base": "pass", "plus": "pass"}}
    line = (json.dumps(answer) + "\n").encode()
    forger = _RAW + (
        "for number in range(3, 256):\n"
        f"    try:\n        os.write(number, {line!r})\n"
        "    except OSError:\n        pass\n"
    )
    assert not _between_honest_ones(grader, forger)["is_correct"]


def test_several_samples_are_graded_at_a_time_from_a_thread(grader: CodeGrader) -> None:
    rows: list[dict[str, Any]] = []
    programs = [_HONEST, "nonsense", _HONEST, "def double(x): return 3 * x", _HONEST, ""]
    thread = threading.Thread(target=lambda: rows.extend(_grade(grader, *programs, workers=3)))
    thread.start()
    thread.join()
    assert [row["is_correct"] for row in rows] == [True, False, True, False, True, False]


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that lets users make none."""
    monkeypatch.setattr(sandbox, "_namespaces_refused", lambda: "user namespaces cannot be had")


def test_without_any_sandbox_it_refuses_and_names_the_cure(
    truth: Path, no_namespaces: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EvaluationError, match="allow_unsandboxed"):
        _grade(CodeGrader("humaneval", ground_truth=truth), _HONEST)
    open_grader = CodeGrader("humaneval", ground_truth=truth, allow_unsandboxed=True)
    rows = _grade(open_grader, _HONEST, "nonsense")
    assert [row["is_correct-plus"] for row in rows] == [True, False]
    assert "UNSANDBOXED" in capsys.readouterr().err


def test_a_bubblewrap_that_is_refused_by_the_kernel_is_no_sandbox(
    truth: Path, no_namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --help ] && { echo --size --clearenv; exit; }\n'
        "echo 'No permissions to create new namespace' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EvaluationError, match="No permissions"):
        _grade(CodeGrader("humaneval", ground_truth=truth), _HONEST)


def test_nothing_can_be_made_writable_again_from_within(grader: CodeGrader) -> None:
    row = _between_honest_ones(
        grader,
        _RAW
        + """
def double(x):
    libc.unshare(0x10000000 | 0x20000)  # a user namespace of its own, and mounts
    remounted = [p for p in (b"/usr", b"/", b"/dev")
                 if libc.mount(b"none", p, None, 32 | 4096, None) == 0]
    return 2 * x if not remounted else remounted
""",
    )
    assert row["is_correct-plus"], "a place was made writable"


def test_ground_truth_that_is_missing_or_of_another_data_set_is_an_error(
    truth: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResultError, match="no prepared ground truth"):
        _grade(CodeGrader("humaneval", ground_truth=tmp_path), _HONEST)
    with pytest.raises(ResultError, match="not mbpp"):
        _grade(CodeGrader("mbpp", ground_truth=truth), _HONEST)
    with pytest.raises(EvaluationError, match="X/1"):
        CodeGrader("humaneval", ground_truth=truth).grade([{"id": "X/1"}], [_HONEST])
