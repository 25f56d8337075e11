"""What an environment said is kept; tested as the flags of engines use it, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.site import Site
from harness.preflight.asking import answer_file, kept_or_asked, said, versions


def test_an_answer_is_kept_and_a_torn_one_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, asked = answer_file("numbers", "one"), []

    def ask() -> str:
        asked.append(1)
        return "1"

    assert [kept_or_asked(file, ask, int) for _ in range(2)] == [1, 1]
    file.write_text("torn")
    assert kept_or_asked(file, ask, int) == 1
    assert len(asked) == 2
    assert kept_or_asked(answer_file("numbers", "two"), lambda: "none", int) is None
    assert not answer_file("numbers", "two").exists()


def test_versions_are_of_the_roles_own_python(tmp_path: Path) -> None:
    info = tmp_path / "trl-99.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trl\nVersion: 99\n")
    lines = ["echo welcome", f"export PYTHONPATH={tmp_path}"]
    there = Site.model_validate({"environments": {"train": {"activate": lines}}})
    assert versions(there, "train", ["trl", "no-such-package"]) == {"trl": "99"}
    closed = Site.model_validate({"environments": {"train": {"container": "/a.sif"}}})
    broken = Site.model_validate({"environments": {"train": {"activate": ["exit 1"]}}})
    assert versions(closed, "train", ["pip"]) == versions(broken, "train", ["pip"]) == {}


def test_a_program_gets_its_arguments_and_input_and_a_failing_one_says_nothing() -> None:
    program = "import sys; print(sys.argv[1], sys.stdin.read())"
    assert said(Site(), "train", program, ["a b"], 60, "c") == "a b c\n"
    assert said(Site(), "train", "raise SystemExit(3)", [], 60) == ""
