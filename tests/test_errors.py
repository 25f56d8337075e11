"""What a person reads when something goes wrong: place, what, cure, and the exit code."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness import errors
from harness.errors import (
    CommandError,
    EvaluationError,
    HarnessError,
    JobError,
    ResultError,
    SchedulerError,
    ServerError,
    SubmissionError,
    TrainingCrashed,
    TrainingError,
    TrainingSuperseded,
    UserError,
    located,
    nearest,
    one_line,
    printable,
)


def test_a_message_of_a_place_has_the_cure_on_a_line_of_its_own() -> None:
    assert located("a.yaml:3", "is wrong") == "a.yaml:3: is wrong"
    assert located(Path("/a b/x"), "is gone", "make it") == "/a b/x: is gone\nmake it"
    assert str(UserError.at("--set", "FIELD=VALUE is expected", "such as a=1")) == (
        "--set: FIELD=VALUE is expected\nsuch as a=1"
    )


def test_only_a_mistake_of_the_users_exits_with_2() -> None:
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, HarnessError)
    ]
    assert len(kinds) >= 11
    users = {k for k in kinds if issubclass(k, UserError | errors.SourceError)}
    assert users == {k for k in kinds if k.exit_code == 2}
    assert {k.exit_code for k in kinds} == {1, 2}


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (TrainingCrashed, TrainingError),
        (TrainingSuperseded, TrainingError),
        (TrainingError, JobError),
        (ServerError, JobError),
        (JobError, HarnessError),
        (CommandError, HarnessError),
        (SchedulerError, HarnessError),
        (SubmissionError, SchedulerError),
        (EvaluationError, HarnessError),
        (ResultError, HarnessError),
        (UserError, HarnessError),
    ],
)
def test_a_handler_of_the_general_error_takes_the_special_one(
    error: type[HarnessError], base: type[HarnessError]
) -> None:
    assert issubclass(error, base)


def test_a_superseded_start_is_no_crash_which_would_be_started_again() -> None:
    assert not issubclass(TrainingSuperseded, TrainingCrashed)


def test_a_failed_program_is_told_as_it_can_be_run_again_with_what_it_said() -> None:
    argv = ["sbatch", "--comment", 'it\'s "a\nb" ü', "job.sh"]
    error = CommandError(argv, 3, "out\n", "\n  err: no such partition  \n")
    first, *rest = str(error).rsplit("\n", 2)
    assert first.removesuffix(" exited 3").strip("`") == shlex.join(argv)
    assert shlex.split(shlex.join(argv)) == argv
    assert rest == ["stdout: out", "stderr: err: no such partition"]
    assert (error.argv, error.code) == (argv, 3)
    assert (error.stdout, error.stderr) == ("out\n", "\n  err: no such partition  \n")


def test_no_code_is_a_timeout_and_silence_is_not_shown() -> None:
    assert str(CommandError(["squeue"], None, "", " \n")) == "`squeue` timed out"
    assert str(CommandError(["squeue"], 0, "", "")) == "`squeue` exited 0"


def test_what_was_called_is_kept_as_it_was() -> None:
    argv = ["a"]
    error = CommandError(argv, 1, "", "")
    argv.append("b")
    assert error.argv == ["a"]


def test_a_job_names_its_log_where_it_has_one() -> None:
    log = Path("/runs/a b/job.out")
    with_log = ServerError("died", log)
    assert str(with_log) == "died\nlog: /runs/a b/job.out"
    assert with_log.log == log
    assert str(TrainingCrashed("died")) == "died"
    assert TrainingCrashed("died").log is None


def test_the_nearest_words_are_offered_and_nothing_far() -> None:
    known = ["gsm8k", "mmlu", "mbpp"]
    assert nearest("gsm8", known) == "; did you mean 'gsm8k'?"
    assert nearest("zzz", known) == nearest("gsm8k", []) == ""
    assert nearest("best_mode", ["best_model", "best_modes", "best_mod"]).count(" or ") == 1


def test_a_hostile_word_is_offered_on_one_line() -> None:
    assert nearest("it's\nb", (name for name in ["it's\na"])) == '; did you mean "it\'s\\na"?'


@pytest.mark.parametrize(
    ("text", "shown", "line"),
    [
        ("plain é 名 👍🏽 [x]", "plain é 名 👍🏽 [x]", "plain é 名 👍🏽 [x]"),
        ("a\n\tb", "a\n\tb", "a␊␉b"),
        ("\x1b[31m\r\x00\x7f", "␛[31m␍␀␡", "␛[31m␍␀␡"),
        ("\x9b31m\x85", "\\u009b31m\\u0085", "\\u009b31m\\u0085"),
        ("\u202eabc\u2066\u2028", "\\u202eabc\\u2066\\u2028", "\\u202eabc\\u2066\\u2028"),
        ("\udcff", "\\udcff", "\\udcff"),
    ],
    ids=["plain", "lines", "C0", "C1", "direction", "surrogate"],
)
def test_text_of_others_cannot_move_the_terminal(text: str, shown: str, line: str) -> None:
    assert (printable(text), printable(text, one_line=True)) == (shown, line)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("it is wrong", "it is wrong"),
        ("it is wrong\nand more", "it is wrong"),
        ("ns ended with exit code 1; log: /l; its last lines:\na\n  b: no GPU\n",
         "ns ended with exit code 1; log: /l; its last line: b: no GPU"),
        ("it died; its last lines:\nx\nlog: /l", "it died; its last line: x"),
        ("it died; its last lines (started again 1 of 1 times)\nx\nlog: /l",
         "it died (started again 1 of 1 times); its last line: x"),
        ("it died; its last lines:\n(the log is empty)\nlog: /l",
         "it died; its last line: (the log is empty)"),
        ("it died; its last lines:\n\nlog: /l", "it died; it wrote nothing"),
        ("it died; its last lines:", "it died; it wrote nothing"),
        ("", "HarnessError"),
    ],
)  # fmt: skip
def test_one_line_of_a_message_never_ends_before_what_it_announces(message: str, line: str) -> None:
    assert one_line(HarnessError(message)) == line
