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


class ResultError(HarnessError):
    """A results file is missing, unreadable or contradicts itself."""


def located(place: object, what: str, cure: str = "") -> str:
    """`place: what`, then the cure on a line of its own: how every message of a place reads."""
    return f"{place}: {what}" + (f"\n{cure}" if cure else "")


def one_line(error: BaseException) -> str:
    """What a message says first; where the end of a log follows, its last line too."""
    first, _, rest = str(error).partition("\n")
    told, colon, more = first.partition("; its last lines")
    if not colon:
        return first or type(error).__name__
    said = [line for line in rest.splitlines() if line.strip() and not line.startswith("log: ")]
    last = f"; its last line: {said[-1].strip()}" if said else "; it wrote nothing"
    return told + more.rstrip(":") + last


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known words, or an empty string."""
    matches = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(m) for m in matches)}?" if matches else ""
