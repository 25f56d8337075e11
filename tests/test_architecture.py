"""The house keeps its rules, and each rule is seen to fail on a planted breach."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import architecture
from tests.support import ROOT

Rule = Callable[[Path], list[str]]


@pytest.mark.parametrize("rule", architecture.RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and the tests' files, in a checkout of their own."""
    root = tmp_path_factory.mktemp("house")
    ignore = shutil.ignore_patterns("__pycache__", "captured", "golden")
    for name in ("harness", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    return root


BREACHES: tuple[tuple[Rule, str, str, str], ...] = (
    (architecture.rooms_on_the_map, "harness/attic.py", "", "attic: on no floor"),
    (
        architecture.arrows_up,
        "harness/runs/up.py",
        "def late():\n    from harness.scheduling.render import quote\n    return quote",
        "runs.up imports scheduling.render",
    ),
    (
        architecture.arrows_up,
        "harness/preflight/across.py",
        "from harness.compute.serve.ports import Ports",
        "preflight.across imports compute.serve.ports",
    ),
    (
        architecture.arrows_up,
        "harness/compute/serve/across.py",
        "import harness.results.table",
        "compute.serve.across imports results.table",
    ),
    (
        architecture.arrows_up,
        "harness/scheduling/job.py",
        "from harness.entry import run_job",
        "scheduling.job imports entry",
    ),
    (
        architecture.circles,
        "harness/runs/one.py",
        "from harness.runs import other\n",
        "a circle of files: runs.one -> runs.other",
    ),
    (architecture.heavy_imports, "harness/results/drawn.py", "import matplotlib", "results.drawn:"),
    (architecture.heavy_imports, "harness/verbs/heavy.py", "import torch", "verbs.heavy:"),
    (architecture.long_files, "harness/runs/long.py", "x = 1\n" * 301, "runs/long.py: 301 lines"),
    (architecture.long_files, "tests/runs/long.py", "x = 1\n" * 301, "tests/runs/long.py: 301"),
    (architecture.without_mirror, "harness/runs/bare.py", "", "harness/runs/bare.py: no tests"),
    (architecture.without_mirror, "tests/runs/test_none.py", "", "test_none.py: of no module"),
    (
        architecture.without_mirror,
        "harness/runs/told.py",
        '"""A module. Tested through tests/runs/test_gone.py."""',
        "harness/runs/told.py: is tested through ['tests/runs/test_gone.py']",
    ),
)


@pytest.mark.parametrize(
    ("rule", "file", "text", "found"), BREACHES, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_planted_breach_is_found(
    copied: Path, rule: Rule, file: str, text: str, found: str
) -> None:
    planted = [copied / file]
    if rule is architecture.circles:
        planted.append(copied / "harness/runs/other.py")
        planted[1].write_text("def late():\n    import harness.runs.one\n")
    planted[0].write_text(text)
    try:
        assert any(found in breach for breach in rule(copied))
    finally:
        for path in planted:
            path.unlink()
    assert rule(copied) == []


def test_a_room_with_too_many_files_is_found(copied: Path) -> None:
    planted = [copied / f"harness/plan/more{n}.py" for n in range(architecture.ROOM_FILES)]
    for path in planted:
        path.write_text("")
    assert any("harness/plan: " in breach for breach in architecture.full_rooms(copied))
    for path in planted:
        path.unlink()
    assert architecture.full_rooms(copied) == []


def test_a_room_that_is_gone_is_missed(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    assert "errors: on the map, and not there" in architecture.rooms_on_the_map(tmp_path)


def test_a_path_of_one_machine_is_found(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("see /" + "root/secret, not $ROOT/root/file\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    assert architecture.paths_of_one_machine(tmp_path) == [
        "notes.md:1:see /" + "root/secret, not $ROOT/root/file"
    ]
