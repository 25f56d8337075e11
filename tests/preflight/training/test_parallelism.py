"""What the training processes share is possible here, or it is said before queueing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Environment
from harness.preflight.check import check, resolve_spec
from harness.preflight.findings import Finding
from harness.preflight.training import parallelism
from tests.preflight.test_check import site, spec

pytestmark = pytest.mark.long


def findings(folder: Path, **train: Any) -> list[Finding]:
    """What this module's checks say, of all that a check says."""
    found = check(resolve_spec(spec(folder, **train)), site(folder), "slurm").findings
    return [
        f
        for f in found
        if f.place in ("train.parallelism", "train.use_peft", "train.lora_modules_to_save")
    ]


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PEFT nor DeepSpeed is installed."""
    monkeypatch.setattr(parallelism, "find_spec", lambda name: None)


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    ("train", "package", "extra"),
    [
        ({"parallelism": "zero2", "bf16": False}, "deepspeed", "[train,deepspeed]"),
        ({"use_peft": True}, "peft", "[train]"),
    ],
)
def test_a_missing_package_is_a_warning_with_its_extra(
    tmp_path: Path, train: dict[str, Any], package: str, extra: str
) -> None:
    (found,) = findings(tmp_path, **train)
    assert found.level == "warning"
    assert f"{package} is not installed" in found.message
    assert extra in found.cure


@pytest.mark.usefixtures("absent")
def test_nothing_is_said_of_an_environment_that_cannot_be_looked_into(tmp_path: Path) -> None:
    elsewhere = {"train": Environment(activate=("source /envs/train/bin/activate",))}
    checked = check(
        resolve_spec(spec(tmp_path, use_peft=True)),
        site(tmp_path, environments=elsewhere),
        "slurm",
    )
    assert [f for f in checked.findings if "not installed" in f.message] == []


@pytest.mark.parametrize(("tied", "levels"), [(True, ["error"]), (False, [])])
def test_half_of_a_shared_embedding_cannot_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tied: bool, levels: list[str]
) -> None:
    monkeypatch.setattr(parallelism, "find_spec", lambda name: object())
    spec(tmp_path)
    (tmp_path / "model" / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    found = findings(tmp_path, use_peft=True, lora_modules_to_save=["lm_head"])
    assert [f.level for f in found] == levels
