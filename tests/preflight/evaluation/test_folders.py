"""Relative folders of an evaluation become absolute; ids of the Hub stay ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.evaluation import EvaluationSpec
from harness.errors import UserError
from harness.preflight.evaluation.folders import resolve_folders


def resolved(**fields: object) -> EvaluationSpec:
    return resolve_folders(EvaluationSpec.model_validate({"benchmarks": ["gsm8k"], **fields}))


def test_folders_are_absolute_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKS", str(tmp_path / "t"))
    for name in ("a judge", "tok", "data"):
        (tmp_path / name).mkdir()
    found = resolved(
        judge={"serve": {"model": "a judge"}},
        lm_eval={"tokenizer": "tok", "include_path": "$TASKS"},
        nemo_skills={"data_dir": "./data"},
    )
    assert found.judge and found.judge.serve
    assert found.judge.serve.model == str(tmp_path / "a judge")
    assert found.lm_eval.tokenizer == str(tmp_path / "tok")
    assert found.lm_eval.include_path == str(tmp_path / "t")
    assert found.nemo_skills.data_dir == str(tmp_path / "data")


def test_ids_and_what_is_unset_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolved(lm_eval={"tokenizer": "Qwen/Qwen3-8B"})
    assert found.lm_eval.tokenizer == "Qwen/Qwen3-8B"
    assert (found.judge, found.lm_eval.include_path) == (None, None)
    with pytest.raises(UserError, match=r"^evaluation\.lm_eval\.tokenizer: .*not set"):
        resolved(lm_eval={"tokenizer": "$NOT_SET_HERE/x"})
