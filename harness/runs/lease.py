"""A folder of checkpoints has one writer: who holds it, and when its holder is gone.

The lease is a file in the folder, not a lock of the kernel: those of network file systems are
lost, or kept for ever, with the node that held them. Its holder touches it again and again; it is
taken over only when the holder is known to be gone, or has not touched it for `GONE_S` seconds of
watching. A holder that comes back from a long sleep sees that it holds the folder no more, and
writes nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from harness.errors import ResultError, TrainingError, located
from harness.runs.files import read_json, utc_now, write_json

_BEAT_S = 10.0
GONE_S = 600.0
"""A writer of 100 GB may hold the interpreter for minutes, and not touch its lease."""
_LOCK_S = 120.0
_SAME_RUN_S = 120.0
"""How long an earlier start of the same run may take to end."""


@dataclass(frozen=True)
class Writer:
    """Who writes: a process, of an attempt of a run."""

    run: str
    """Run id; of a script started by hand its output folder."""
    attempt: str
    """Which start of the run."""
    host: str = ""
    machine: str = ""
    """Boot and PID namespace: only there a process id means something."""
    pid: int = 0
    started: float = 0.0
    """When the process began, seconds since the epoch."""
    job_id: str = ""
    """Slurm's, where it runs in a job."""
    cluster: str = ""

    def __str__(self) -> str:
        job = f"job {self.job_id}, " if self.job_id else ""
        return f"run {self.run} ({job}{self.host}, process {self.pid})"


def this_writer(run: str, attempt: str, env: Mapping[str, str]) -> Writer:
    """The process that calls. Without a cluster's name its job is none of Slurm's."""
    cluster = env.get("SLURM_CLUSTER_NAME", "")
    return Writer(
        run=run,
        attempt=attempt,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        job_id=env.get("SLURM_JOB_ID", "") if cluster else "",
        cluster=cluster,
    )


def _machine() -> str:
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        return f"{boot} {os.readlink('/proc/self/ns/pid')}" if boot else ""
    return ""


def read_writer(folder: Path) -> Writer | None:
    """Who holds a folder, or held it last without letting go; None for nobody.

    Raises ResultError when the lease is unreadable: then nobody knows.
    """
    file = _file(folder)
    if not file.is_file():
        return None
    told = read_json(file)
    known = {f.name for f in fields(Writer)}
    try:
        return Writer(**{k: v for k, v in told.items() if k in known})
    except (AttributeError, TypeError):
        raise ResultError(
            f"{file}: does not say who writes here; remove it if nobody does"
        ) from None


def lives(writer: Writer) -> bool | None:
    """Whether the process lives; None where that cannot be told from this machine."""
    if not writer.machine or writer.machine != _machine():
        return None
    try:
        found = psutil.Process(writer.pid)
        return abs(found.create_time() - writer.started) < 1 and found.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def _file(folder: Path) -> Path:
    return folder / ".writer.json"


class Lease:
    """Held, as a context, by the one process that writes into a folder.

    `is_alive` says of a writer elsewhere whether it lives or will come back, None where it cannot
    tell. Raises TrainingError on entering while somebody else writes.
    """

    def __init__(
        self,
        folder: Path,
        writer: Writer,
        is_alive: Callable[[Writer], bool | None] = lives,
        say: Callable[[str], object] = print,
    ) -> None:
        self.folder, self.writer = folder, writer
        self._is_alive, self._say = is_alive, say
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._touch, daemon=True)

    def __enter__(self) -> Lease:
        self.folder.mkdir(parents=True, exist_ok=True)
        silent: Writer | None = None
        deadline = time.monotonic() + _SAME_RUN_S
        while (other := self._take(silent)) is not None:
            if self._lives(other) is None and self._is_silent(other):
                silent = other
            elif other.run != self.writer.run or time.monotonic() > deadline:
                raise TrainingError(
                    located(
                        self.folder,
                        f"{other} writes its checkpoints here",
                        "Wait until it has ended, or give another train.output_dir",
                    )
                )
            else:
                time.sleep(0.5)
        self._beat.start()
        return self

    def _take(self, silent: Writer | None) -> Writer | None:
        """Take the folder, unless another holds it who may live; returns that one."""
        with self._lock():
            other = read_writer(self.folder)
            free = other in (None, self.writer, silent)
            if other is not None and not free and self._lives(other) is not False:
                return other
            write_json(_file(self.folder), {**asdict(self.writer), "since": utc_now()})
            return None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with FileLock(self.folder / ".writer.lock", timeout=_LOCK_S):
                yield
        except Timeout:
            raise TrainingError(f"{self.folder}: its lock .writer.lock cannot be had") from None

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beat.join()

    def let_go(self) -> None:
        """Nothing more will be written by this run: the next one need not ask whether it lives."""
        with self._lock():
            if self.held:
                _file(self.folder).unlink()

    @property
    def held(self) -> bool:
        """Whether nobody has taken over."""
        with suppress(ResultError):
            return read_writer(self.folder) == self.writer
        return False

    def _lives(self, other: Writer) -> bool | None:
        if other.run == self.writer.run:
            return bool(lives(other))  # of a run's jobs one comes after another
        return lives(other) or self._is_alive(other)

    def _is_silent(self, other: Writer) -> bool:
        """Watch, by this machine's own clock, whether the lease is touched."""
        file, began = _file(self.folder), time.monotonic()
        before = file.stat().st_mtime_ns
        self._say(f"{other} held {self.folder}; whether it lives cannot be asked from here: "
                  f"watching for {GONE_S:.0f} s")  # fmt: skip
        while time.monotonic() < began + GONE_S:
            time.sleep(min(_BEAT_S, GONE_S))
            try:
                if file.stat().st_mtime_ns != before:
                    return False
            except FileNotFoundError:
                return True
        return True

    def _touch(self) -> None:
        while not self._ended.wait(_BEAT_S):
            with suppress(OSError):
                if self.held:
                    os.utime(_file(self.folder))
