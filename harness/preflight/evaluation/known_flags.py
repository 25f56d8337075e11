"""Which flags the engine that will serve has: recorded, kept from an earlier look, or asked.

The engine's version is asked in its role's environment. Of a version that we recorded the record
is as good as the engine; of another the engine is asked once, which takes the seconds of its import,
and the answer kept in `$XDG_CACHE_HOME/harness/engine_flags`. A container is not started for this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.config.engine_flags import describe
from harness.config.engine_flags.definitions import Definitions, public, recorded
from harness.config.engines import EngineKind
from harness.config.site import Site
from harness.preflight.asking import answer_file, kept_or_asked, said, versions

ASK_S = 90.0
"""How long an engine may take to tell its flags."""
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
    version = versions(site, kind.name, [kind.package]).get(kind.package, "")
    if not _VERSION.fullmatch(version):
        return Known(recorded(kind.name), False, "which one will serve cannot be told from here")
    known = recorded(kind.name, version)
    if known and known.version == public(version):
        return Known(known, True)
    if own := _told(kind, version, site):
        return Known(own, True)
    return Known(known, False, f"{version} will serve, and did not tell its own")


def kept_file(engine: str, version: str) -> Path:
    """Where an engine's answer is kept."""
    return answer_file("engine_flags", f"{engine}-{version}")


def _told(kind: EngineKind, version: str, site: Site) -> Definitions | None:
    """The engine's own answer, kept from an earlier look or asked for now."""

    def ask() -> str:
        if not kind.flags_from:
            return ""
        program = Path(describe.__file__).read_text(encoding="utf-8")
        arguments = [kind.name, kind.package, *kind.flags_from]
        text = said(site, kind.name, program, arguments, ASK_S)
        return text[text.find('{"engine"') :]

    return kept_or_asked(kept_file(kind.name, version), ask, Definitions.model_validate_json)
