"""Names of rows that were tokenised once."""

from __future__ import annotations

from pathlib import Path

from harness.runs.paths import RunPaths
from harness.runs.tokenised import TokenisedPaths, tokenised_cache


def test_tokenised_rows_are_whole_only_with_their_facts(tmp_path: Path) -> None:
    cache = tokenised_cache(RunPaths(tmp_path / "name" / "20260101-000000-aaaa"))
    assert cache == tmp_path / ".tokenised"
    rows = TokenisedPaths(cache, "0123")
    rows.rows.mkdir(parents=True)
    assert not rows.is_whole
    rows.facts.write_text("{}")
    assert rows.is_whole
    # Beside the folder, which is removed where it is not whole.
    assert {p.parent for p in (rows.lock, rows.alive, rows.problem)} == {cache}
