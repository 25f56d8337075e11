"""The rules of the house, each a function of a checkout: what breaks it, one line a breach.

errors, package <- config <- processes <- runs <- chats <- benchmarks, data <- plan <- scheduling
       <- the wing of jobs (compute) | the wing of the login node (preflight, results)
       <- entry <- verbs <- cli
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

LEVELS = (
    ("__main__",),
    ("cli",),
    ("verbs",),
    ("entry",),
    ("compute", "preflight", "results"),
    ("scheduling",),
    ("plan",),
    ("data",),
    ("benchmarks",),
    ("chats",),
    ("runs",),
    ("processes",),
    ("config",),
    ("errors", "package"),
)
"""From the top floor down; what stands on one floor are wings, which know nothing of each other."""
WINGS = (frozenset({"compute"}), frozenset({"preflight", "results"}))
FLOOR = {room: floor for floor, rooms in enumerate(LEVELS) for room in rooms}
HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "trl", "accelerate", "scipy")
FILE_LINES, ROOM_FILES = 300, 15


def modules(root: Path) -> dict[str, Path]:
    """Module name below `harness` -> file."""
    package = root / "harness"
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = file
    return found


def imports(file: Path, known: frozenset[str]) -> set[str]:
    """The modules of ours that a file imports, at its top or inside a function."""
    return set(_imports(file, file.stat().st_mtime_ns, known))


@cache
def _imports(file: Path, _: int, known: frozenset[str]) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        for name in named:
            short = name.removeprefix("harness.")
            if name.startswith("harness.") and short in known:
                found.add(short)
    # `from a.b import c` names the package a.b, too, where c is a module of it.
    return frozenset(m for m in found if not any(o.startswith(f"{m}.") for o in found))


def graph(root: Path) -> dict[str, set[str]]:
    """Who imports whom."""
    files = modules(root)
    known = frozenset(files)
    return {name: imports(file, known) - {name} for name, file in files.items() if name}


def rooms_on_the_map(root: Path) -> list[str]:
    """Every room of the package stands on a floor, and every floor's room is there."""
    there = {name.partition(".")[0] for name in modules(root) if name}
    return [f"{room}: on no floor" for room in sorted(there - FLOOR.keys())] + [
        f"{room}: on the map, and not there" for room in sorted(FLOOR.keys() - there)
    ]


def arrows_up(root: Path) -> list[str]:
    """Imports only go down, and none goes from one wing to the other."""
    breaches = []
    for name, others in graph(root).items():
        room = name.partition(".")[0]
        for other in sorted(others):
            target = other.partition(".")[0]
            if target == room or room not in FLOOR or target not in FLOOR:
                continue
            same_wing = any({room, target} <= wing for wing in WINGS)
            if FLOOR[target] < FLOOR[room] or (FLOOR[target] == FLOOR[room] and not same_wing):
                breaches.append(f"{name} imports {other}")
    return breaches


def circles(root: Path) -> list[str]:
    """No circle of files (Tarjan's strongly connected components)."""
    edges = graph(root)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[str] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                found.append("a circle of files: " + " -> ".join(sorted(group)))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def heavy_imports(root: Path) -> list[str]:
    """Outside compute/ every module is importable where the heavy packages are not installed."""
    light = [n for n in modules(root) if n and not n.startswith(("compute", "__main__"))]
    code = (
        "import importlib, sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        f"for name in {light!r}:\n"
        "    try: importlib.import_module(f'harness.{name}')\n"
        "    except ImportError as error: print(f'{name}: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    return done.stdout.splitlines() + done.stderr.splitlines()


def long_files(root: Path) -> list[str]:
    """A file has at most 300 lines; tests, too."""
    found = []
    for file in [*modules(root).values(), *sorted((root / "tests").rglob("*.py"))]:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found.append(f"{file.relative_to(root)}: {lines} lines")
    return found


def full_rooms(root: Path) -> list[str]:
    """A room of the package holds at most fifteen files, beside its __init__."""
    count: dict[Path, int] = {}
    for file in modules(root).values():
        count[file.parent] = count.get(file.parent, 0) + (file.name != "__init__.py")
    return [f"{p.relative_to(root)}: {n} files" for p, n in count.items() if n > ROOM_FILES]


def without_mirror(root: Path) -> list[str]:
    """Every module has tests in its place, or its docstring says through which file it is tested;
    every test file below a room's name is of a module there (`test_<module>[_<aspect>].py`)."""
    files = modules(root)
    missing = []
    mirrored = set()
    for name, file in files.items():
        if file.name == "__init__.py" and not _has_code(file):
            continue
        folder, own = _place_of_tests(root, name)
        found = {*folder.glob(f"test_{own}.py"), *folder.glob(f"test_{own}_*.py")}
        mirrored |= found
        told = _tested_through(file)
        if told and not all((root / each).is_file() for each in told):
            missing.append(
                f"{file.relative_to(root)}: is tested through {told}, which is not there"
            )
        elif not found and not told:
            missing.append(f"{file.relative_to(root)}: no tests, and no `Tested through`")
    rooms = {n.partition(".")[0] for n in files if n}
    for test in sorted((root / "tests").rglob("test_*.py")):
        room = test.relative_to(root / "tests").parts[0]
        if room in rooms and test not in mirrored:
            missing.append(f"{test.relative_to(root)}: of no module")
    return missing


def _place_of_tests(root: Path, name: str) -> tuple[Path, str]:
    parts = (name or "harness").split(".")
    return root.joinpath("tests", *parts[:-1]), parts[-1].strip("_")


def _has_code(file: Path) -> bool:
    return any(
        isinstance(n, ast.FunctionDef | ast.ClassDef) for n in ast.parse(file.read_text()).body
    )


def _tested_through(file: Path) -> list[str]:
    """Files named after `Tested through` in a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    _, told, rest = " ".join(text.split()).partition("Tested through ")
    if not told:
        return []
    words = rest.partition(". ")[0].rstrip(".").replace(" and ", ", ").split(", ")
    return [word.strip() for word in words if word.strip()]


def paths_of_one_machine(root: Path) -> list[str]:
    """Nothing tracked names a path of one machine."""
    homes = "|".join(("ro" + "ot", "Us" + "ers", "ho" + "me/(?!user)[a-z]+", "wo" + "rk"))
    done = subprocess.run(
        ["git", "grep", "-nP", f"(?<![\\w.~$}}-])/({homes})/", "--", "."],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        return [f"git grep does not work here: {done.stderr}"]
    return done.stdout.splitlines()


RULES = (
    rooms_on_the_map,
    arrows_up,
    circles,
    heavy_imports,
    long_files,
    full_rooms,
    without_mirror,
    paths_of_one_machine,
)
