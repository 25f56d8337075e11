"""Which flags the engine that will serve has: recorded, kept from an earlier look, or asked.

The engine's version is asked in its role's environment. Of a version that we recorded the record
is as good as the engine; of another the engine is asked once, which takes the seconds of its import,
and the answer kept in `$XDG_CACHE_HOME/harness/engine_flags`. A container is not started for this.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.config.engine_flags import describe
from harness.config.engine_flags.definitions import (
    Definitions,
    public,
    read_definitions,
    recorded,
)
from harness.config.engines import EngineKind
from harness.config.site import Site
from harness.errors import CommandError
from harness.processes.environments import role_wrapper
from harness.processes.shell import tethered
from harness.runs.files import write_text

VERSION_S, ASK_S = 20.0, 90.0
"""How long an environment may take to tell a version, and an engine its flags."""
_VERSION = re.compile(r"[0-9][\w.!-]*(\+[\w.]+)?")


@dataclass(frozen=True)
class Known:
    """The flags that a check can go by."""

    definitions: Definitions | None
    """None: nothing is known."""
    exact: bool
    """Whether they are of the very version that will serve."""
    why: str = ""
    """Where not, why: for a message."""


def known_flags(kind: EngineKind, site: Site) -> Known:
    """The flags of an engine as its role's environment has it; never fails, never takes minutes."""
    if site.environment(kind.name).container:
        why = "which one its container has is not looked at from here"
        return Known(recorded(kind.name), False, why)
    version = _version(kind, site)
    if not version:
        return Known(recorded(kind.name), False, "which one will serve cannot be told from here")
    known = recorded(kind.name, version)
    if known and known.version == public(version):
        return Known(known, True)
    if own := _kept(kind, version) or _asked(kind, version, site):
        return Known(own, True)
    return Known(known, False, f"{version} will serve, and did not tell its own")


def _version(kind: EngineKind, site: Site) -> str:
    """Of the engine in its role's environment; empty where that cannot be told."""
    environment = site.environment(kind.name)
    if not environment.activate and not environment.variables:
        try:
            return metadata.version(kind.package)  # the Python that submits
        except metadata.PackageNotFoundError:
            return ""
    code = f"import importlib.metadata as m; print(m.version({kind.package!r}))"
    said = _run(["python", "-c", code], kind, site, VERSION_S).split()
    return said[-1] if said and _VERSION.fullmatch(said[-1]) else ""


def _run(argv: list[str], kind: EngineKind, site: Site, limit_s: float) -> str:
    """What a command prints in the role's environment; empty where it fails."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    try:
        return tethered(role_wrapper(site, kind.name, [])(argv), timeout=limit_s, env=env)
    except (CommandError, OSError):
        return ""


def kept_file(engine: str, version: str) -> Path:
    """Where an engine's answer is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "harness" / "engine_flags" / f"{engine}-{version}.json"


def _kept(kind: EngineKind, version: str) -> Definitions | None:
    try:
        return read_definitions(kept_file(kind.name, version))
    except (OSError, ValueError):
        return None


def _asked(kind: EngineKind, version: str, site: Site) -> Definitions | None:
    if not kind.flags_from:
        return None
    program = Path(describe.__file__).read_text(encoding="utf-8")
    argv = ["python", "-c", program, kind.name, kind.package, *kind.flags_from]
    text = _run(argv, kind, site, ASK_S)
    try:
        found = Definitions.model_validate_json(text[text.find('{"engine"') :])
    except ValueError:
        return None
    with suppress(OSError):  # then it is asked again next time
        write_text(kept_file(kind.name, version), found.model_dump_json())
    return found
