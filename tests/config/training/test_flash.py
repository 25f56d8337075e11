"""The table of FlashAttention packages and GPUs."""

from __future__ import annotations

import re

import pytest

from harness.config.training.flash import (
    CAPABILITIES,
    FLASH,
    explicit_version,
    fastest,
    flash_versions,
)
from tests.support import ROOT


def test_every_gpu_from_ampere_on_has_version_2_and_none_before() -> None:
    assert all(2 in flash_versions(capability) for capability in CAPABILITIES)
    assert flash_versions(7) == flash_versions(0) == ()
    assert flash_versions(99) == flash_versions(max(CAPABILITIES))


def test_the_fastest_is_of_those_that_are_there() -> None:
    assert [fastest(9, there) for there in ((2, 3, 4), (2, 4), (2,), ())] == [3, 4, 2, None]
    assert fastest(10, (3,)) is None


def test_names_are_transformers_own() -> None:
    assert explicit_version("flash_attention_4") == 4
    assert explicit_version("kernels-community/flash-attn3") is explicit_version(None) is None
    matrix = pytest.importorskip(
        "transformers.modeling_flash_attention_utils", reason="needs the extra `train`"
    ).FLASH_ATTENTION_COMPATIBILITY_MATRIX
    assert set(FLASH) == set(matrix)


def test_the_extras_install_the_packages_of_the_table() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r'^(flash\d?) = \["([a-z0-9-]+)>=', text, re.MULTILINE))
    assert extras == {"flash": FLASH[2].distribution, "flash4": FLASH[4].distribution}
