"""Would the engine take what is set for it: fields of `server`, and any further flag."""

from __future__ import annotations

from harness.config.engine_flags.definitions import Flag, Value
from harness.config.engines import EngineKind, flag_word
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.errors import nearest
from harness.preflight.evaluation.known_flags import Known, known_flags
from harness.preflight.findings import Finding, error, note, warning


def check_settings(server: ServerSpec, place: str) -> list[Finding]:
    """Findings about fields of `server` that the engine has no setting for."""
    return [
        error(f"{place}.{name}", f"engine {server.engine} has no such setting", "Leave it out")
        for name in server.kind.lacks
        if getattr(server, name) not in (None, 1)
    ]


def check_flags(server: ServerSpec, site: Site, place: str) -> list[Finding]:
    """Findings about `server.flags`; `place` is what stands before a name, e.g. `server.flags.`.

    What the engine that will serve does not know is an error; what only a recorded version does
    not know is a warning that says so.
    """
    if not server.flags:
        return []
    known = known_flags(server.kind, site)
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for name, value in server.flags.items():
        found, target = _check(name, value, server.kind, known, place + name)
        if not found and seen.setdefault(target, name) != name:
            text = f"given twice: {seen[target]} sets the same"
            found = [error(place + name, text, "Leave one of them out")]
        findings += found
    if known.definitions is None:
        text = f"which flags {server.engine} has is not known here: these are not checked"
        findings.append(note(place.rstrip(". "), text))
    return findings


def _check(
    name: str, value: Value, kind: EngineKind, known: Known, place: str
) -> tuple[list[Finding], str]:
    """Findings about one flag, and what it sets."""
    word = flag_word(name)
    top, _, key = word.partition(".")
    definitions = known.definitions
    flag = definitions.named(top) if definitions else None
    names = [top, top.lower(), top.removeprefix("no-"), *(flag.names if flag else ())]
    if own := [each for each in names if each in kind.own_flags]:
        return [error(place, "the harness sets this flag itself", _cure(own[0], kind))], word
    if flag is None:
        begins = [each for each in kind.own_flags if each.startswith(top)]
        if definitions:
            begins = definitions.beginning(top)
            if not begins:
                close = nearest(top, definitions.names)
                return [_wrong(known, place, f"{kind.name} has no flag --{top}{close}")], word
        return [_abbreviated(known, place, top, begins, kind)] if begins else [], word
    assert definitions is not None
    target = f"{flag.sets}.{key}" if key else flag.sets
    text = _misfit(flag, top, key, value, definitions.nests)
    return [_wrong(known, place, f"--{top} {text}")] if text else [], target


def _misfit(flag: Flag, top: str, key: str, value: Value, nests: bool) -> str:
    """Why a flag does not go with a value, a key or its `no-`; empty where it does."""
    if key:
        takes_keys = nests and flag.kind in ("json", "object")
        return "" if takes_keys else "has no keys: its value is one text"
    if top not in flag.names and value is not True:
        return f"is switched as {flag.name}: true or false"
    return flag.wrong(value)


def _cure(own: str, kind: EngineKind) -> str:
    """What to do instead of giving a flag that the harness sets."""
    cure = kind.own_flags[own] or "leave it out"
    return cure[0].upper() + cure[1:]


def _abbreviated(
    known: Known, place: str, word: str, names: list[str], kind: EngineKind
) -> Finding:
    """The engine may take the beginning of a name for it; the harness does not guess."""
    shown = " or ".join(names[:3]) + (" or …" if names[3:] else "")
    text = f"{kind.name} reads --{word} as the beginning of {shown}"
    if len(names) == 1 and names[0] in kind.own_flags:
        return error(place, f"{text}, which the harness sets itself", _cure(names[0], kind))
    if known.definitions is None:
        return warning(place, text, "Write the whole name")
    return _wrong(known, place, f"{text}: write the whole name")


def _wrong(known: Known, place: str, text: str) -> Finding:
    """An error by the engine's own flags, a warning by those of another version."""
    assert known.definitions is not None
    version = f"{known.definitions.engine} {known.definitions.version}"
    if known.exact:
        return error(place, f"{text} ({version})")
    return warning(place, text, f"By the flags of {version}, which are recorded; {known.why}")
