"""Data of the judged benchmarks, from the real files; whatever is missing in them is an error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.benchmarks.judged import arena_item, complete
from harness.benchmarks.prepare import open_items, prepare
from harness.errors import EvaluationError, UserError
from tests.support import shared_data

DATA = shared_data()
needs_data = pytest.mark.skipif(
    DATA is None, reason="the shared benchmark data is not beside the repository"
)


@needs_data
def test_arena_hard_has_its_baselines(tmp_path: Path) -> None:
    prepare("arena-hard", tmp_path, DATA)
    items = open_items(tmp_path, "arena-hard")
    assert len(items) == 500
    assert {item["baseline_model"] for item in items} == {"gpt-4-0314"}
    assert all(item["baseline_answer"].strip() for item in items)
    assert items[0]["id"] == "328c149ed45a41c0b9d6f14659e63599"
    assert items[0]["baseline_answer"].startswith("X:1\nT:Untitled Folk Tune")
    assert "subset_for_metrics" not in items[0]


@needs_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("arena-hard", "arena-hard-v0.1_gpt-4-0314.jsonl"),
        ("mt-bench", "mt_bench_reference_gpt-4.jsonl"),
        ("mt-bench", "mt_bench_judge_prompts.jsonl"),
    ],
)
def test_a_further_file_that_is_absent_or_cut_is_named(
    tmp_path: Path, name: str, file: str
) -> None:
    assert DATA is not None
    source = tmp_path / "source"
    source.mkdir()
    for path in [*DATA.glob("arena*"), *DATA.glob("mt_bench*")]:
        shutil.copyfile(path, source / path.name)
    lines = (source / file).read_text().splitlines(keepends=True)
    (source / file).write_text("".join(lines[:3]))
    with pytest.raises(EvaluationError, match=f"{name}: a source file has nothing for"):
        prepare(name, tmp_path / "out", source)
    (source / file).unlink()
    with pytest.raises(UserError, match=f"{file} does not exist"):
        prepare(name, tmp_path / "out", source)
    assert not (tmp_path / "out" / f"{name}.jsonl").exists()


def test_v2_compares_each_category_with_its_own_baseline() -> None:
    """Rows in the format of arena-hard-auto's data/arena-hard-v2.0 (its repository)."""
    questions = [
        {"uid": "a", "category": "hard_prompt", "subcategory": "coding", "prompt": "P"},
        {"uid": "b", "category": "creative_writing", "subcategory": "creative_writing",
         "prompt": "W"},
    ]  # fmt: skip
    files = [
        "".join(
            json.dumps({"uid": uid, "model": model, "messages": [
                {"role": "user", "content": "P"},
                {"role": "assistant", "content": {"answer": f"{model} on {uid}"}}]}) + "\n"
            for uid in "ab"
        ).encode()
        for model in ("o3-mini-2025-01-31", "gemini-2.0-flash-001")
    ]  # fmt: skip
    items = complete("arena-hard-v2", [arena_item(0, q) for q in questions], files)
    assert [item["baseline_answer"] for item in items] == [
        "o3-mini-2025-01-31 on a", "gemini-2.0-flash-001 on b",
    ]  # fmt: skip
    assert [item["subset_for_metrics"] for item in items] == ["hard_prompt", "creative_writing"]
