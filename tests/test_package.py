"""The package finds what ships with it, wherever it lies, and a run's copy of it is whole."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness import package
from harness.package import copy_to, find_template, is_installed, missing, needs
from tests.support import ROOT

SHIPPED = ("templates", "jobs", "site.yaml")


def as_installed(site_packages: Path) -> Path:
    """What a wheel leaves in site-packages, beside somebody else's packages."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "harness", site_packages / "harness", ignore=ignore)
    inside = site_packages / "harness" / "_shipped"
    inside.mkdir()
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, inside / name)
    (site_packages / "torch").mkdir()
    (site_packages / "torch" / "__init__.py").write_text("")
    return site_packages


def python(where: Path, *argv: str, cwd: Path | None = None) -> str:
    """The output of Python with the package of `where`."""
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env={**os.environ, "PYTHONPATH": str(where)},
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its permissions."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_template_is_found_from_here_then_among_those_shipped_with_or_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "templates" / "chat" / "chatml.jinja"
    assert find_template(Path("templates/chat/chatml.jinja")) == shipped
    assert find_template(Path("chatml.jinja")) == shipped
    assert find_template(Path("mine.jinja")) == Path("mine.jinja")
    assert find_template(tmp_path / "chatml.jinja") == tmp_path / "chatml.jinja"
    (tmp_path / "chatml.jinja").write_text("mine")
    assert find_template(Path("chatml.jinja")) == Path("chatml.jinja")


def test_in_site_packages_what_ships_is_found_inside_the_package(tmp_path: Path) -> None:
    installed = as_installed(tmp_path / "site-packages")
    inside = installed / "harness" / "_shipped"
    assert python(installed, "-m", "harness.package", cwd=tmp_path) == str(inside)
    found = python(
        installed,
        "-c",
        "from harness.config.load import find_site, find_spec, expand_template as t\n"
        "print(find_spec('sft'), find_site(None), t('qwen3.jinja', ''), "
        "t('templates/chat/qwen3.jinja', ''))",
        cwd=tmp_path,
    )
    template = inside / "templates" / "chat" / "qwen3.jinja"
    assert found.split() == [
        str(inside / "jobs" / "sft.yaml"),
        str(inside / "site.yaml"),
        str(template),
        str(template),
    ]


def test_the_copy_of_a_run_is_the_same_from_a_checkout_and_from_site_packages(
    tmp_path: Path,
) -> None:
    copy_to(tmp_path / "of a checkout")
    ours = contents(tmp_path / "of a checkout")
    assert {name.partition("/")[0] for name in ours} == {"harness", "templates"}
    assert not any("__pycache__" in name for name in ours)
    assert ours["templates/local/srun"][1] == 0o755
    assert ours["harness/package.py"] == ((ROOT / "harness" / "package.py").read_bytes(), 0o644)
    installed = as_installed(tmp_path / "site-packages")
    code = f"from pathlib import Path; from harness import package; package.copy_to(Path({str(tmp_path / 'of a wheel')!r}))"
    python(installed, "-c", code, cwd=tmp_path)
    assert contents(tmp_path / "of a wheel") == ours
    # It runs by itself, and a copy of the copy is the same again.
    again = tmp_path / "again"
    python(tmp_path / "of a wheel", "-c", code.replace("of a wheel", "again"), cwd=tmp_path)
    assert contents(again) == ours


def test_a_read_only_installation_gives_a_copy_that_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = as_installed(tmp_path / "store")
    for path in installed.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(package, "PACKAGE", installed / "harness")
    monkeypatch.setattr(package, "SHIPPED", installed / "harness" / "_shipped")
    monkeypatch.setattr(package, "_INSIDE", installed / "harness" / "_shipped")
    copy_to(tmp_path / "code")
    modes = {stat.S_IMODE(p.stat().st_mode) & 0o200 for p in (tmp_path / "code").rglob("*")}
    assert modes == {0o200}
    for path in installed.rglob("*"):
        path.chmod(0o755)


def test_a_missing_package_is_told_with_the_extra_that_has_it() -> None:
    assert needs("train,deepspeed") == "pip install 'posttrain-harness[train,deepspeed]'"
    text = missing(ModuleNotFoundError("No module named 'trl'", name="trl.trainer"))
    assert text == f"trl is not installed in {sys.executable}: {needs('train')}"
    assert missing(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    assert missing(ModuleNotFoundError("of no name")) is None


def test_the_extras_that_messages_name_are_those_of_pyproject() -> None:
    import re

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^([a-z]+) = \[", section, re.MULTILINE))
    assert set(package._MODULES) <= known
    assert f'name = "{package.NAME}"' in text
    from harness.config.engines import ENGINES

    assert {kind.extra or kind.name for kind in ENGINES.values()} <= known
    named = set()
    for file in (ROOT / "harness").rglob("*.py"):
        for extras in re.findall(r"""needs\(["']([a-z,]+)["']\)""", file.read_text("utf-8")):
            named |= set(extras.split(","))
    assert named and named <= known


def test_what_is_installed_is_told_by_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_installed("made-up-package")
    info = tmp_path / "made_up_package-1.0.dist-info" / "METADATA"
    info.parent.mkdir()
    info.write_text("Metadata-Version: 2.1\nName: made-up-package\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("made-up-package")
