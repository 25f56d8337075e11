"""What tests of verbs stand in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a site file whose runs and benchmarks lie there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_SITE", raising=False)
    site = {"scheduler": "local", "runs_dir": "runs", "benchmarks_dir": "b"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    return tmp_path
