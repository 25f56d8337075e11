"""Imports go down only, files stay small, nothing names one machine."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "harness"
FILES = sorted(PACKAGE.rglob("*.py"))
# From the top floor down; a room imports only what stands below it, or itself.
ROOMS = (
    "__main__", "cli", "verbs", "options", "screen", "preflight", "compute", "results", "scheduling", "plan", "benchmarks",
    "runs", "config", "errors",
)  # fmt: skip
# Submission pickles one function of compute by reference (inside the verb), and run by `collect`.
EXCEPTIONS = {("scheduling", "compute.entry")}


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.removeprefix("harness.") for name in names if name.startswith("harness.")]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_room_imports_only_what_stands_below(file: Path) -> None:
    room = file.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        return
    for name in imported(ast.parse(file.read_text())):
        other = name.split(".")[0]
        if other in ROOMS and not any(
            room == r and name.startswith(allowed) for r, allowed in EXCEPTIONS
        ):
            assert ROOMS.index(other) >= ROOMS.index(room), f"{file.name} imports {name}"


def test_every_room_is_on_the_map() -> None:
    found = {p.stem for p in PACKAGE.iterdir() if p.name not in ("__init__.py", "__pycache__")}
    assert found == set(ROOMS)


def test_files_stay_under_300_lines() -> None:
    long = {f.name: n for f in FILES if (n := len(f.read_text().splitlines())) > 300}
    assert long == {}


def test_nothing_tracked_names_a_path_of_one_machine() -> None:
    homes = "|".join(("ro" + "ot", "Us" + "ers", "ho" + "me/(?!user)[a-z]+"))
    found = subprocess.run(
        ["git", "grep", "-nP", f"(?<![\\w.~-])/({homes})/", "--", "."],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if found.returncode not in (0, 1):
        pytest.skip(f"git grep does not work here: {found.stderr}")
    assert found.stdout == ""
