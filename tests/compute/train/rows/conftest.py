"""A tiny model and forty conversations."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_model import make_tiny_dataset, make_tiny_model

    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 40)
    return folder
