"""The near end of `supervisor.py`: start named daemons, hear which ended, end them all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .machine import PATH, SlurmStartError, processes_of
from .supervisor import kill


class Daemons:
    """The daemons of one folder; each logs to `<folder>/<name>.log`."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self._finished: set[str] = set()
        supervisor = str(Path(__file__).with_name("supervisor.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", supervisor, str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, not for the daemons
        )

    def spawn(self, name: str, *argv: str, cwd: Path | None = None) -> int:
        """Start a daemon in the foreground; its pid."""
        program = shutil.which(argv[0], path=PATH)
        if program is None:
            raise SlurmStartError(f"{argv[0]} is not installed")
        answer = self._ask(
            do="spawn",
            name=name,
            argv=[program, *argv[1:]],
            env=self.env,
            log=str(self._log(name)),
            cwd=str(cwd or self.folder),
        )
        pid = answer["pid"]
        assert isinstance(pid, int)
        return pid

    def complete(self, name: str, *argv: str) -> None:
        """Run a program to its end; raise SlurmStartError with its output if it fails."""
        self.spawn(name, *argv)
        while (code := self._ask(do="exited").get(name)) is None:
            time.sleep(0.02)
        if code != 0:
            raise SlurmStartError(f"{name} ended with code {code}:\n{self.log_tail(name)}")
        self._finished.add(name)

    def check(self) -> None:
        """Raise SlurmStartError, with the tail of its log, if any daemon has ended."""
        for name, code in self._ask(do="exited").items():
            if name in self._finished:
                continue
            raise SlurmStartError(f"{name} ended with code {code}:\n{self.log_tail(name)}")

    def log_tail(self, name: str, lines: int = 25) -> str:
        """The last lines a daemon wrote."""
        try:
            text = self._log(name).read_text(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End all of them and all they started, and wait until that is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            with contextlib.suppress(OSError):  # it has ended already
                self._process.stdin.write(json.dumps({"do": "stop"}).encode() + b"\n")
                self._process.stdin.close()
            self._process.wait(40)
        finally:
            self._process.kill()  # its daemons then die by PR_SET_PDEATHSIG
            self._process.wait()
            self._process.stdout.close()
            kill({pid for pid, _ in processes_of(self.folder)})  # none, unless that was needed

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _ask(self, **request: object) -> dict[str, object]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer: dict[str, object] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise SlurmStartError("the supervisor of the private cluster has ended") from error
        if "error" in answer:
            raise SlurmStartError(str(answer["error"]))
        return answer
