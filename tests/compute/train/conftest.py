"""What real training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a dataset, in folders whose names would break a careless shell."""
    from tests.tiny_model import make_tiny_dataset, make_tiny_model

    folder = tmp_path_factory.mktemp("inputs") / "it's a $HOME"
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 64, split="train")
    return folder
