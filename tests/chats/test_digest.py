"""Rows are known again by what they hold, not by where they lie or when they were written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.chats import digest
from harness.chats.digest import rows_digest
from tests.preflight.support import saved_dataset, turn


@pytest.mark.parametrize("whole", [digest._WHOLE, 10])
def test_the_same_rows_have_the_same_digest_and_others_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(digest, "_WHOLE", whole)
    first = rows_digest(
        saved_dataset(tmp_path / "a", messages=[turn("Who?"), turn("Why?")]), "train"
    )
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert rows_digest(tmp_path / "b", "train") == first
    changed = saved_dataset(tmp_path / "c", messages=[turn("Who?"), turn("How?")])
    turned = saved_dataset(tmp_path / "d", messages=[turn("Why?"), turn("Who?")])
    assert len({first, rows_digest(changed, "train"), rows_digest(turned, "train")}) == 3
