"""What a role's environment says of itself: versions, and answers that take the seconds of an import.

A version is asked each time; an answer is kept in `$XDG_CACHE_HOME/harness`, under the versions that
gave it. A container is not started for a check.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from harness.config.site import Role, Site
from harness.errors import CommandError
from harness.processes.environments import role_wrapper
from harness.processes.shell import tethered
from harness.runs.files import write_text

Answer = TypeVar("Answer")
VERSION_S = 20.0
"""How long an environment may take to tell versions."""
_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions(site: Site, role: Role, packages: Iterable[str]) -> dict[str, str]:
    """Those of the packages that the role's Python has, with their versions; empty where it cannot
    be asked from here."""
    environment = site.environment(role)
    if environment.container:
        return {}
    if not environment.activate and not environment.variables:
        found = {}
        for name in packages:  # the Python that submits
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return found
    try:
        told = json.loads(said(site, role, _VERSIONS, list(packages), VERSION_S).splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}


def said(
    site: Site, role: Role, program: str, arguments: Sequence[str], limit_s: float, stdin: str = ""
) -> str:
    """What a Python program prints in the role's environment; empty where it fails."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    argv = role_wrapper(site, role, [])(["python", "-c", program, *arguments])
    try:
        return tethered(argv, timeout=limit_s, stdin=stdin, env=env)
    except (CommandError, OSError):
        return ""


def answer_file(kind: str, name: str) -> Path:
    """Where an answer is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "harness" / kind / f"{name}.json"


def kept_or_asked(
    file: Path, ask: Callable[[], str], read: Callable[[str], Answer]
) -> Answer | None:
    """The answer that is kept, else what `ask` brings, which is kept; None where it is none.

    `read` raises ValueError for what is no answer.
    """
    with suppress(OSError, ValueError):
        return read(file.read_text(encoding="utf-8"))
    text = ask()
    try:
        found = read(text)
    except ValueError:
        return None
    with suppress(OSError):  # then it is asked again next time
        write_text(file, text)
    return found
