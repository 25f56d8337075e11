"""The one door to other programs: argument lists, explicit errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from harness.errors import CommandError
from harness.package import ROOT

DEFAULT_TIMEOUT_S = 60.0

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
    """Standard output of a program that must succeed.

    Raises CommandError with command, exit code and both streams when it fails, hangs or is absent.
    """
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True, text=True, timeout=timeout, check=False, input=stdin, env=env,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommandError(argv, 127, "", f"{argv[0]}: no such program") from None
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, None, str(error.stdout or ""), str(error.stderr or "")) from None
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stdout, done.stderr)
    return done.stdout


def own_module(module: str, *arguments: str, isolated: bool = False) -> list[str]:
    """The command that runs `main()` of a module of this package, from any folder.

    `isolated` keeps the user's own packages and PYTHON* variables out (`python -I`).
    """
    flags = ["-I"] if isolated else []
    code = _RUN_MAIN.format(module=module)
    return [sys.executable, *flags, "-c", code, str(ROOT), *arguments]


def importable() -> dict[str, str]:
    """This process's environment, with this package importable from any working directory."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}
