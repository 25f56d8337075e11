"""Everything that goes wrong on purpose.

    HarnessError
    ├── UserError            the user's input is wrong; exit code 2, no traceback
    ├── CommandError         a program we called failed; carries argv, code and both streams
    ├── SchedulerError       Slurm (or the local runner) refused or cannot be asked
    │   └── SubmissionError      it did not take a job, as far as it says
    ├── JobError             work inside a job failed; names its log
    │   ├── TrainingError
    │   │   ├── TrainingCrashed     a process died; going on from the last checkpoint may work
    │   │   └── TrainingSuperseded  another start of the run has taken over
    │   └── ServerError
    ├── EvaluationError      an answer or a grade could not be had
    │   └── SourceError      a benchmark's data is not what it must be: the user's to mend; exit code 2
    └── ResultError          a file of results is missing, unreadable or contradicts itself

`cli.py` prints a HarnessError as one message. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal


class HarnessError(Exception):
    """Base of all expected errors; `str(error)` is what the user reads."""

    exit_code = 1


class UserError(HarnessError):
    """A mistake in the user's input: where, what, how to cure it."""

    exit_code = 2

    @classmethod
    def at(cls, place: object, what: str, cure: str = "") -> UserError:
        """Of a place: a file, `file:line`, a field or an option."""
        return cls(located(place, what, cure))


class CommandError(HarnessError):
    """A program that we called failed."""

    def __init__(self, argv: Sequence[str], code: int | None, stdout: str, stderr: str) -> None:
        self.argv, self.code, self.stdout, self.stderr = list(argv), code, stdout, stderr
        lines = [f"`{shlex.join(argv)}` " + (f"exited {code}" if code is not None else "timed out")]
        lines += [
            f"{name}: {text.strip()}"
            for name, text in (("stdout", stdout), ("stderr", stderr))
            if text.strip()
        ]
        super().__init__("\n".join(lines))


class SchedulerError(HarnessError):
    """The scheduler refused a request or cannot be asked."""


class SubmissionError(SchedulerError):
    """A job was not taken, as far as the scheduler says.

    `taken`: whether it may be there all the same: `no`, it was refused; `unlikely`, the program that
    submits failed; `perhaps`, its answer was lost or cannot be read.
    """

    def __init__(self, message: str, taken: Literal["no", "unlikely", "perhaps"]) -> None:
        self.taken = taken
        super().__init__(message)


class JobError(HarnessError):
    """Work inside a job failed; `log` is where to read why."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        self.log = log
        super().__init__(f"{message}\nlog: {log}" if log else message)


class TrainingError(JobError):
    """The training process failed or left no usable state."""


class TrainingCrashed(TrainingError):
    """A training process died of something that another start may not meet."""


class TrainingSuperseded(TrainingError):
    """Another start of the same run has taken over; this one must not write any more."""


class ServerError(JobError):
    """An inference server died, never became ready, or serves the wrong model."""


class EvaluationError(HarnessError):
    """A benchmark could not be generated or graded."""


class SourceError(EvaluationError):
    """The data that a benchmark is to be prepared from is not its publisher's, or not whole."""

    exit_code = 2


class ResultError(HarnessError):
    """A results file is missing, unreadable or contradicts itself."""


def located(place: object, what: str, cure: str = "") -> str:
    """`place: what`, then the cure on a line of its own: how every message of a place reads."""
    return f"{place}: {what}" + (f"\n{cure}" if cure else "")


_PICTURES = {code: chr(0x2400 + code) for code in range(32)} | {0x7F: "\u2421"}
_ESCAPES = {
    code: f"\\u{code:04x}"
    for codes in ((0x80, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A), (0xD800, 0xE000))
    for code in range(*codes)
}
_LINE = _PICTURES | _ESCAPES
_TEXT = {code: shown for code, shown in _LINE.items() if chr(code) not in "\n\t"}


def printable(text: str, one_line: bool = False) -> str:
    """Text of others, made safe for a terminal: control characters, marks that turn the direction
    of writing and halves of surrogate pairs are shown as what they are. Line ends and tabs stay,
    unless it is to be `one_line`."""
    return text.translate(_LINE if one_line else _TEXT)


def one_line(error: BaseException) -> str:
    """What a table can hold of an error: what it says first and, where the end of a log follows, its
    last line too; of one that is not ours, its kind."""
    first, _, rest = str(error).strip().partition("\n")
    if not isinstance(error, HarnessError) and first:
        return f"{type(error).__name__}: {first}"
    told, colon, more = first.partition("; its last lines")
    if not colon:
        return first or type(error).__name__
    said = [line for line in rest.splitlines() if line.strip() and not line.startswith("log: ")]
    last = f"; its last line: {said[-1].strip()}" if said else "; it wrote nothing"
    return told + more.rstrip(":") + last


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known words, or an empty string."""
    folded = {name.casefold(): name for name in known}
    matches = get_close_matches(word[:_LONG].casefold(), list(folded), n=2, cutoff=0.6)
    shown = " or ".join(repr(folded[match]) for match in matches)
    return f"; did you mean {shown}?" if matches else ""


_LONG = 200
"""Characters of a word that are compared: nobody's name is longer."""


def quoted(text: str, limit: int = _LONG) -> str:
    """A user's word in a message: on one line, what is not printable as Python writes it, and not
    for ever."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: limit + 1])
    return shown if len(text) <= limit else f"{shown[:limit]}…"


def reason(error: Exception) -> str:
    """Why a file could not be read or written, without the name that the message has already."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start + 1})"
    told = error.strerror if isinstance(error, OSError) else None
    return told or str(error)
