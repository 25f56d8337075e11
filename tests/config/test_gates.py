"""Thresholds of the gates: shares are 0 to 1, verdicts two words, and no gate can be left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.gates import GatesSpec
from harness.config.load import load_spec
from tests.config.test_load import GOOD, message, spec_file

SHARES = [name for name in GatesSpec.model_fields if name.endswith("_share")]
VERDICTS = [name for name in GatesSpec.model_fields if not name.endswith("_share")]


def gates(folder: Path, setting: str) -> GatesSpec:
    evaluation = load_spec(spec_file(folder, GOOD), [f"evaluation.gates.{setting}"]).evaluation
    assert evaluation is not None
    return evaluation.gates


def test_what_makes_numbers_meaningless_is_invalid_unless_said_otherwise() -> None:
    usual = GatesSpec()
    assert (usual.identical, usual.template) == ("invalid", "invalid")
    assert {usual.truncated, usual.empty, usual.zero} == {"warn"}


@pytest.mark.parametrize("name", SHARES)
def test_a_share_is_0_to_1(tmp_path: Path, name: str) -> None:
    assert getattr(gates(tmp_path, f"{name}=0"), name) == 0
    assert getattr(gates(tmp_path, f"{name}=1"), name) == 1
    for value, words in (("-0.1", "a number of at least 0"), ("20", "a number of at most 1"),
                         ("nan", "a number is expected (got 'nan')"), ("20%", "a number is"),
                         ("null", "a number is expected (got null)")):  # fmt: skip
        told = message(tmp_path, GOOD, f"evaluation.gates.{name}={value}")
        assert told.startswith(f"--set evaluation.gates.{name}={value}: evaluation.gates.{name}: ")
        assert words in told


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_is_warn_or_invalid_and_never_silence(tmp_path: Path, name: str) -> None:
    for value in ("warn", "invalid"):
        assert getattr(gates(tmp_path, f"{name}={value}"), name) == value
    for value in ("ignore", "off", "null", "Warn", "''"):
        told = message(tmp_path, GOOD, f"evaluation.gates.{name}={value}")
        assert f"evaluation.gates.{name}: 'warn' or 'invalid' is expected" in told


def test_a_misspelt_gate_offers_the_nearest(tmp_path: Path) -> None:
    told = message(tmp_path, GOOD, "evaluation.gates.truncatd=warn")
    assert "evaluation.gates.truncatd: unknown key; did you mean 'truncated'" in told
