"""The process of one program: it runs the program on inputs and sends back what comes out.

It is forked before anything is known of what the tests expect, so there is nothing to find in its
memory, and compares nothing, so there is nothing in it to patch. Whatever it sends may be the
program's own words.

Tested through tests/compute/evaluate/graders/test_code_runner.py and
tests/compute/evaluate/graders/test_code_cheats.py.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.compute.evaluate.graders.code_values import packed
from harness.processes.supervisor import prctl

_HEAD = struct.Struct("!Q")
MAX_BYTES = 256 << 20
"""Of one output."""
_PROGRAM_MEMORY_BYTES = 4 << 30
_SET_DUMPABLE = 4
"""prctl(2): of a process that is not, no other one of the user's may open memory or descriptors."""


class Silent(Exception):
    """The program's process ended, or its time did, without another word."""


class Raised(Exception):
    """The program raised an error."""


@dataclass(frozen=True)
class Work:
    """What a program is to do."""

    solution: str
    entry_point: str
    inputs: Sequence[Any]
    limits_s: Sequence[float]
    """Seconds for each input."""
    as_sets: bool
    """Its outputs are compared as sets."""


class Program:
    """The side of the process that compares."""

    def __init__(self, private: Sequence[int]) -> None:
        """Fork a process that waits for its work; `private` are descriptors that it must not have."""
        self._channel, other = socket.socketpair()
        self._folder: str | None = None
        self._deadline = 0.0
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for descriptor in (*private, self._channel.fileno()):
                    os.close(descriptor)
                prctl(_SET_DUMPABLE, 1)
                _serve(other)
            finally:
                os._exit(0)
        other.close()

    def fileno(self) -> int:
        """Of the channel to the process."""
        return self._channel.fileno()

    def give(self, work: Work, limit_s: float) -> None:
        """Start the work; from now on `limit_s` seconds are left for all of it. Raises Silent."""
        self._deadline = time.monotonic() + limit_s
        self._folder = tempfile.mkdtemp()
        data = pickle.dumps((self._folder, work), pickle.HIGHEST_PROTOCOL)
        try:
            self._channel.settimeout(limit_s)
            self._channel.sendall(_HEAD.pack(len(data)) + data)
        except OSError:
            raise Silent from None

    def output(self) -> bytes:
        """The next output, packed. Raises Silent or Raised."""
        (size,) = _HEAD.unpack(self._receive(_HEAD.size))
        if size == 0 or size > MAX_BYTES:
            raise Raised
        return self._receive(size)

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            left = self._deadline - time.monotonic()
            try:
                self._channel.settimeout(max(left, 1e-3))
                part = self._channel.recv(min(size - len(data), 1 << 20)) if left > 0 else b""
            except OSError:
                part = b""
            if not part:
                raise Silent
            data += part
        return bytes(data)

    def end(self) -> None:
        """Kill the process, whatever it does; remove its folder."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._channel.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def hide_this_process() -> None:
    """From the programs that it forks: no descriptor and no memory of it can be opened in /proc."""
    prctl(_SET_DUMPABLE, 0)


def _serve(channel: socket.socket) -> None:
    """In the forked process: wait for work, do it."""
    from evalplus.eval.utils import reliability_guard, swallow_io, time_limit

    head = _read(channel, _HEAD.size)
    if not head:
        return
    work: Work
    folder, work = pickle.loads(_read(channel, *_HEAD.unpack(head)))
    os.setsid()
    os.chdir(folder)
    leave, send, pack = os._exit, channel.sendall, packed  # the program may replace them
    reliability_guard(maximum_memory_bytes=_PROGRAM_MEMORY_BYTES)
    try:
        names: dict[str, Any] = {}
        with swallow_io():
            exec(work.solution, names)
        function = names[work.entry_point]
        for inputs, limit_s in zip(work.inputs, work.limits_s, strict=True):
            with time_limit(limit_s), swallow_io():
                output = function(*inputs)
            data = pack(output, as_set=work.as_sets)
            send(_HEAD.pack(len(data)) + data)
    except BaseException:
        send(_HEAD.pack(0))
    leave(0)


def _read(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = channel.recv(min(size - len(data), 1 << 20))
        if not part:
            return b""
        data += part
    return bytes(data)
