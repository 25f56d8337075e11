"""Other programs are called by argument lists, and fail with one message that says all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import CommandError
from harness.processes.shell import call, own_module, run


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_the_output_of_a_program_is_returned_as_it_is() -> None:
    assert call(["printf", "%s\\n", "é 中"]) == "é 中\n"
    assert call(["true"]) == ""


@pytest.mark.parametrize(
    "word", ["a  b", "'", '"', "$HOME", "; exit 3", "a\nb", "*", "", "-n", "é"]
)
def test_no_shell_reads_an_argument(word: str) -> None:
    assert call(["printf", "[%s]", word]) == f"[{word}]"


def test_a_program_gets_its_input_and_nothing_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["cat"], stdin="a\nb") == "a\nb"
    assert call(["cat"]) == ""
    call(python("import sys; print('aside', file=sys.stderr)"))
    assert capfd.readouterr() == ("", "")


def test_an_environment_that_is_given_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    assert "A_SECRET=x" in call(["env"]).splitlines()
    assert call(["/usr/bin/env"], env={"B": "1"}) == "B=1\n"


def test_a_failure_says_command_code_and_both_streams() -> None:
    argv = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    with pytest.raises(CommandError) as caught:
        call(argv)
    error = caught.value
    assert (error.argv, error.code, error.stdout, error.stderr) == (argv, 7, "out\n", "err\n")
    assert str(error) == (
        "`sh -c 'echo out; echo err >&2; exit 7'` exited 7\nstdout: out\nstderr: err"
    )


def test_a_program_that_is_killed_failed() -> None:
    with pytest.raises(CommandError, match="exited -9"):
        call(["sh", "-c", "kill -9 $$"])


def test_an_absent_program_is_named_and_has_the_shells_code() -> None:
    with pytest.raises(CommandError) as caught:
        call(["no such-program", "x"])
    assert caught.value.code == 127
    assert str(caught.value) == (
        "`'no such-program' x` exited 127\nstderr: no such-program: no such program"
    )


def test_a_program_that_hangs_is_ended_and_has_no_code() -> None:
    began = time.monotonic()
    with pytest.raises(CommandError, match="`sleep 60` timed out") as caught:
        call(["sleep", "60"], timeout=0.1)
    assert caught.value.code is None
    assert time.monotonic() - began < 10


def test_what_a_hanging_program_has_said_is_text_and_its_children_end_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"echo out; echo é >&2; sleep 300 & echo $! > {pid}; wait"
    with pytest.raises(CommandError) as caught:
        call(["bash", "-c", script], timeout=1)
    assert (caught.value.stdout, caught.value.stderr) == ("out\n", "é\n")
    assert str(caught.value).endswith("timed out\nstdout: out\nstderr: é")
    deadline = time.monotonic() + 10
    while _runs(int(pid.read_text())):
        assert time.monotonic() < deadline, "its child runs on"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_both_streams_of_a_program_that_succeeds() -> None:
    assert run(["sh", "-c", "echo out; echo aside >&2"]) == ("out\n", "aside\n")


def test_what_is_no_utf8_is_replaced() -> None:
    assert call(["printf", "a\\377b"]) == "a\ufffdb"
    with pytest.raises(CommandError, match="stderr: \ufffd!"):
        call(["sh", "-c", "printf '\\377!' >&2; exit 1"])


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("no-right", 126, "Permission denied"),
        ("a-folder", 126, "Permission denied"),
        ("below-a-file", 126, "Not a directory"),
        ("no-program", 126, "Exec format error"),
        ("a-lost-interpreter", 127, "no such program"),
    ],
)
def test_what_cannot_be_started_is_one_message_with_its_name(
    tmp_path: Path, kind: str, code: int, said: str
) -> None:
    program = tmp_path / "a program"
    program.write_text("#!/no/such/interpreter\n" if kind == "a-lost-interpreter" else "hello")
    program.chmod(0o644 if kind == "no-right" else 0o755)
    named = {"a-folder": tmp_path, "below-a-file": program / "x"}.get(kind, program)
    with pytest.raises(CommandError) as caught:
        call([str(named), "x"])
    assert caught.value.code == code
    assert f"{named}: " in str(caught.value) and said in str(caught.value)


MAIN = """
import sys
def main():
    print(sys.argv[1:], sys.flags.isolated, __file__)
    return 5
"""


def test_a_module_of_ours_runs_from_any_folder_with_its_code(tmp_path: Path) -> None:
    for argv in (
        own_module("harness.processes.supervisor"),
        own_module("harness.processes.supervisor", isolated=True),
    ):
        # Without an order it ends with 1 and says nothing.
        done = subprocess.run(argv, cwd=tmp_path, input="", capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_arguments_reach_a_module_whole_and_its_code_comes_back(tmp_path: Path) -> None:
    (tmp_path / "of_a_test.py").write_text(MAIN)
    argv = own_module("of_a_test", "a  b", "-x", "'")
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stdout == f"{['a  b', '-x', chr(39)]} 0 {tmp_path / 'of_a_test.py'}\n"


@pytest.mark.parametrize("isolated", [False, True])
def test_another_package_of_our_name_in_the_current_folder_is_not_taken(
    tmp_path: Path, isolated: bool
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    argv = own_module("harness.processes.supervisor", isolated=isolated)
    done = subprocess.run(argv, cwd=tmp_path, input="", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_an_isolated_module_sees_neither_the_folder_nor_the_users_variables(
    tmp_path: Path,
) -> None:
    (tmp_path / "of_a_test.py").write_text(MAIN)
    argv = own_module("of_a_test", isolated=True)
    done = subprocess.run(
        argv, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "No module named 'of_a_test'" in done.stderr
