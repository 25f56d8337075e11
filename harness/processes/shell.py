"""The one door to other programs: argument lists, explicit errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.errors import CommandError
from harness.package import ROOT
from harness.processes import tree

DEFAULT_TIMEOUT_S = 60.0
NO_SUCH_PROGRAM, CANNOT_EXECUTE = 127, 126
"""Exit codes that a shell gives for the two (bash(1), "EXIT STATUS")."""
_LAST_WORDS_S = 0.25

# The current folder, which may hold another `harness`, is not searched. Installed from a wheel,
# this package lies in site-packages, which must stay behind the standard library.
_RUN_MAIN = """
import os, sys
root = sys.argv.pop(1)
sys.path[:] = [path for path in sys.path if path]
if root not in map(os.path.realpath, sys.path):
    sys.path.insert(0, root)
from {module} import main
raise SystemExit(main())
"""


def call(
    argv: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> str:
    """Standard output of a program that must succeed; see `run`.

    Raises CommandError with command, exit code and both streams when it fails, hangs or cannot be
    started.
    """
    return run(argv, timeout=timeout, stdin=stdin, env=env)[0]


def run(
    argv: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Both streams of a program that must succeed; what is no UTF-8 in them is replaced.

    When it hangs longer than `timeout` seconds, it and all that it started are killed. Raises
    CommandError as `call` does.
    """
    code, out, err = _run(list(argv), timeout, stdin.encode(), env)
    if code != 0:
        raise CommandError(argv, code, out, err)
    return out, err


def tethered(
    argv: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> str:
    """As `call`, of a program that may take its time: however we die, it and all that it started
    end with us."""
    guarded = [*own_module("harness.processes.tether", bare=True), str(os.getpid()), *argv]
    code, out, err = _run(guarded, timeout, stdin.encode(), env)
    if code != 0:
        raise CommandError(argv, code, out, err)
    return out


def cannot_start(program: str, error: OSError) -> tuple[int, str]:
    """Exit code and words for a program that did not even start."""
    if isinstance(error, FileNotFoundError):
        return NO_SUCH_PROGRAM, f"{program}: no such program"
    # not executable, a file in its path is no folder, no program at all, …
    return CANNOT_EXECUTE, f"{program}: cannot be started: {error.strerror}"


def _run(
    argv: list[str], timeout: float, stdin: bytes, env: Mapping[str, str] | None
) -> tuple[int | None, str, str]:
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
    except OSError as error:
        failed, said = cannot_start(argv[0], error)
        return failed, "", said
    code: int | None = None
    with process:
        try:
            out, err = process.communicate(stdin, timeout)
            code = process.returncode
        except subprocess.TimeoutExpired as error:
            out, err = error.stdout or b"", error.stderr or b""
        except BaseException:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WORDS_S)
            raise
        finally:
            if process.returncode is None:
                tree.send([*tree.descendants(process.pid), process.pid], signal.SIGKILL)
    return code, out.decode(errors="replace"), err.decode(errors="replace")


def own_module(
    module: str, *arguments: str, isolated: bool = False, bare: bool = False
) -> list[str]:
    """The command that runs `main()` of a module of this package, from any folder.

    `isolated` keeps the user's own packages and PYTHON* variables out (`python -I`), `bare` all
    packages but the standard library, too, whose search takes time.
    """
    flags = ["-I", "-S"] if bare else ["-I"] if isolated else []
    code = _RUN_MAIN.format(module=module)
    return [sys.executable, *flags, "-c", code, str(ROOT), *arguments]


def importable() -> dict[str, str]:
    """This process's environment, with this package importable from any working directory."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}
