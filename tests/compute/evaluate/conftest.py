"""Real data for the tests of this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import shared_data


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_data()
    if folder is None:
        pytest.skip("the folder of real benchmark data is not on this machine")
    return folder
