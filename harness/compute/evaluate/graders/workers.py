"""Helper processes that answer one JSON line for each JSON line, under a hard time limit.

Grading meets input that hangs or kills the process that reads it (an endless power tower for
sympy, a hostile program). So each item goes to a helper process; one that hangs, dies or answers
nonsense is killed with all its children and replaced, and only its item fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import EvaluationError
from harness.processes.kin import end_group

_MAX_LINE = 1 << 20
_POLL_S = 0.1


@dataclass(frozen=True)
class Command:
    """How to start a helper, and what to hold it to.

    `watch` is called about ten times a second with the helper's process id and returns why it has
    to be killed, or None. `start_limit_s` bounds the time (seconds) from start to its first line,
    which must be `{"ready": true}`.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    watch: Callable[[int], str | None] | None = None
    start_limit_s: float = 180.0
    tries_when_late: int = 2
    """How often a task may run out of time before it fails."""


@dataclass(frozen=True)
class Failure:
    """A task without an answer, and why."""

    reason: str
    timed_out: bool = False


class _Broken(Exception):
    """The helper hung, died, or answered something that is not the answer."""


class _TooLong(_Broken):
    """There was no answer in time."""


class _Helper:
    """One running helper process and its two pipes."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._buffer = b""
        self.retires = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the helper)
        self._process = subprocess.Popen(
            list(command.argv),
            env=None if command.env is None else dict(command.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        try:
            if self._read_line(command.start_limit_s).get("ready") is not True:
                raise _Broken("it did not say that it is ready")
        except _Broken as error:
            self._stderr.seek(0)
            said = self._stderr.read()[-2000:].decode(errors="replace").strip()
            self.kill()
            raise _Broken(f"{error}\n{said}") from error

    def ask(self, number: int, task: Mapping[str, Any], limit_s: float) -> Any:
        deadline = time.monotonic() + limit_s
        self._write(json.dumps({"number": number, "task": task}).encode() + b"\n", deadline)
        answer = self._read_line(max(deadline - time.monotonic(), 0.0))
        if answer.get("number") != number or "answer" not in answer:
            raise _Broken("it answered something else than it was asked")
        self.retires = answer.get("retires") is True
        return answer["answer"]

    def lives(self) -> bool:
        return self._process.poll() is None

    def _write(self, data: bytes, deadline: float) -> None:
        """A task may be larger than a pipe, and a helper that is stopped reads nothing."""
        rest = memoryview(data)
        os.set_blocking(self._stdin.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while rest:
                if time.monotonic() > deadline:
                    raise _TooLong("it does not read its task")
                if not selector.select(_POLL_S):
                    continue
                try:
                    rest = rest[os.write(self._stdin.fileno(), rest) :]
                except OSError as error:
                    raise _Broken(f"it closed its input ({error})") from error

    def kill(self) -> None:
        """End the helper, its process group and its descendants; wait for it."""
        end_group(self._process)
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def _read_line(self, limit_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if time.monotonic() > deadline:
                    raise _TooLong(f"no answer within {limit_s:g} s")
                if self._command.watch and (why := self._command.watch(self._process.pid)):
                    raise _Broken(why)
                if selector.select(_POLL_S):
                    self._receive()
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise _Broken("its answer is not JSON") from error
        if not isinstance(message, dict):
            raise _Broken("its answer is not a JSON object")
        return message

    def _receive(self) -> None:
        data = os.read(self._stdout.fileno(), 1 << 16)
        if not data:
            raise _Broken("it died")
        self._buffer += data
        if len(self._buffer) > _MAX_LINE:
            raise _Broken("its answer is longer than 1 MiB")


class Helpers:
    """Helper processes that are kept from one call to the next; they end with this object."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._idle: deque[_Helper] = deque()
        self._end = weakref.finalize(self, _kill_all, self._idle)

    def close(self) -> None:
        """End those that are idle."""
        _kill_all(self._idle)

    def run(
        self, tasks: Sequence[Mapping[str, Any]], limits_s: Sequence[float], workers: int = 2
    ) -> list[Any | Failure]:
        """Each task's answer, in order; a `Failure` where two helpers gave none.

        `limits_s` are wall-clock seconds, one for each task. The second try keeps one item's
        damage (a killed helper, leftovers) from failing the next item.

        Raises:
            EvaluationError: the helper cannot even be started.
        """
        answers: list[Any | Failure] = [Failure("not run")] * len(tasks)
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(tasks)):
            waiting.put(number)
        errors: list[Exception] = []

        def work() -> None:
            try:
                while not errors:
                    try:
                        number = waiting.get_nowait()
                    except queue.Empty:
                        return
                    answers[number] = self._answer(number, tasks[number], limits_s[number])
            except Exception as error:  # handed to the caller's thread
                errors.append(error)

        threads = [
            threading.Thread(target=work, name=f"grader-{index}")
            for index in range(min(max(workers, 1), len(tasks)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return answers

    def _answer(self, number: int, task: Mapping[str, Any], limit_s: float) -> Any | Failure:
        failure = Failure("not run")
        for attempt in (1, 2):
            helper = self._helper()
            try:
                answer = helper.ask(number, task, limit_s)
            except _Broken as error:
                helper.kill()
                late = isinstance(error, _TooLong)
                failure = Failure(f"attempt {attempt}: {error}", late)
                if late and attempt >= self._command.tries_when_late:
                    break
                continue
            except BaseException:
                helper.kill()
                raise
            if helper.retires:
                helper.kill()
            else:
                self._idle.append(helper)
            return answer
        return failure

    def _helper(self) -> _Helper:
        while self._idle:
            try:
                helper = self._idle.popleft()
            except IndexError:  # another thread was faster
                break
            if helper.lives():
                return helper
            helper.kill()
        return _start(self._command)


def _kill_all(helpers: deque[_Helper]) -> None:
    while helpers:
        helpers.popleft().kill()


def run_tasks(
    command: Command,
    tasks: Sequence[Mapping[str, Any]],
    limits_s: Sequence[float],
    workers: int = 2,
) -> list[Any | Failure]:
    """`Helpers.run` by helpers that end with this call."""
    helpers = Helpers(command)
    try:
        return helpers.run(tasks, limits_s, workers)
    finally:
        helpers.close()


def _start(command: Command) -> _Helper:
    try:
        return _Helper(command)
    except (OSError, _Broken) as error:
        raise EvaluationError(
            f"the grading helper did not start: {error}\nTry it by hand: {' '.join(command.argv)}"
        ) from error


def serve(
    answer: Callable[[dict[str, Any]], Any],
    source: int = 0,
    sink: int = 1,
    before: Callable[[], None] | None = None,
    retire: Callable[[], bool] | None = None,
) -> None:
    """The helper's side: read tasks from file descriptor `source`, write answers to `sink`.

    `before()` is called before each task is read. Where `retire()` is true after a task, the parent
    replaces this process before the next one.
    """
    with os.fdopen(source, "rb") as lines, os.fdopen(sink, "wb", buffering=0) as out:
        out.write(b'{"ready": true}\n')
        while True:
            if before is not None:
                before()
            request = json.loads(lines.readline() or "null")
            if request is None:
                return
            reply = {"number": request["number"], "answer": answer(request.pop("task"))}
            reply["retires"] = retire is not None and retire()
            out.write(json.dumps(reply).encode() + b"\n")
            del request, reply
