"""The checks of `eval`: a model's folder, or a server that runs already, and nothing in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.evaluate import EvalSpec
from harness.config.site import Site
from harness.preflight.evaluation import standalone
from harness.preflight.evaluation.standalone import check_eval
from harness.preflight.findings import Finding
from harness.runs.checkpoints import mark_complete
from tests.preflight.support import MARKED, model

CPU = {"engine": "transformers", "gpus": 0}


def check(
    folder: Path, path: object, secrets: tuple[str, ...] = (), **fields: Any
) -> list[Finding]:
    evaluation = {"benchmarks": ["arithmetic"], "server": CPU} | fields.pop("evaluation", {})
    spec = EvalSpec.model_validate(
        {"name": "eval-m", "model": str(path), "evaluation": evaluation, **fields}
    )
    there = Site(runs_dir=str(folder / "runs"), benchmarks_dir=str(folder / "b"), secrets=secrets)
    return check_eval(spec, there, "local")


def errors(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.place, f.message) for f in found if f.level == "error"]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = model(tmp_path / "a model é")
    (folder / "chat_template.jinja").write_text(MARKED)
    return folder


def elsewhere(key: str | None) -> dict[str, Any]:
    return {"external": {"address": "http://h:1/v1", "model": "x", "api_key_env": key}}


def test_a_whole_model_with_a_template_passes(tmp_path: Path, whole: Path) -> None:
    assert errors(check(tmp_path, whole)) == []


def test_a_model_without_a_template_is_cured_by_naming_one(tmp_path: Path, whole: Path) -> None:
    (whole / "chat_template.jinja").unlink()
    (found,) = [f for f in check(tmp_path, whole) if f.level == "error"]
    assert (found.place, "--chat-template" in found.cure) == ("MODEL", True)
    given = tmp_path / "given.jinja"
    given.write_text("{{ messages }}")  # without marks: nothing is trained here
    assert errors(check(tmp_path, whole, chat_template=str(given))) == []


def test_a_wrong_template_is_told_by_the_option_that_named_it(tmp_path: Path, whole: Path) -> None:
    missing = tmp_path / "absent.jinja"
    ((place, message),) = errors(check(tmp_path, whole, chat_template=str(missing)))
    assert place == "--chat-template"
    assert str(missing) in message


def test_a_folder_that_is_no_model_is_one_error_and_its_template_not_asked_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    assert errors(check(tmp_path, tmp_path / "empty")) == [
        ("MODEL", f"{tmp_path / 'empty'}: no config.json in it")
    ]


def test_weights_cut_short_are_found(tmp_path: Path, whole: Path) -> None:
    with (whole / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    ((place, message),) = errors(check(tmp_path, whole))
    assert (place, "model.safetensors" in message) == ("MODEL", True)


def test_an_adapter_is_not_held_against_a_whole_model(tmp_path: Path) -> None:
    adapter = tmp_path / "checkpoint-5"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "a/b"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"w")
    (adapter / "chat_template.jinja").write_text(MARKED)
    mark_complete(adapter)
    assert errors(check(tmp_path, adapter)) == []


def test_benchmarks_and_judge_are_checked_wherever_the_model_is(
    tmp_path: Path, whole: Path
) -> None:
    asked = {"benchmarks": ["gsm8k", "mt-bench"]}
    for more in ({}, elsewhere(None)):
        found = errors(check(tmp_path, whole, evaluation=asked, **more))
        assert {place for place, _ in found} == {"evaluation.benchmarks", "evaluation.judge"}


def test_a_server_elsewhere_without_a_key_needs_nothing_here(tmp_path: Path) -> None:
    assert check(tmp_path, "any name", **elsewhere(None)) == []


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_set_or_not_shown_to_jobs_is_two_errors_with_cures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    unset, hidden = check(tmp_path, "m", secrets=("HF_TOKEN",), **elsewhere("MY_KEY"))
    assert {unset.place, hidden.place} == {"--api-key-env"}
    assert (unset.message, unset.cure) == ("$MY_KEY is not set", "export MY_KEY=…")
    assert "does not let jobs see $MY_KEY" in hidden.message
    assert hidden.cure == "secrets: [HF_TOKEN, MY_KEY] in the site file"
    monkeypatch.setenv("MY_KEY", "a secret value")
    found = check(tmp_path, "m", **elsewhere("MY_KEY"))
    assert [f.place for f in found] == ["--api-key-env"]
    assert "a secret value" not in str(found)
    assert check(tmp_path, "m", secrets=("MY_KEY",), **elsewhere("MY_KEY")) == []


def test_the_site_is_checked_in_both_cases(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "runs").write_text("")
    for more in ({}, elsewhere(None)):
        assert [place for place, _ in errors(check(tmp_path, whole, **more))] == ["site: runs_dir"]


def test_likelihoods_by_address_need_a_tokenizer_before_anything_starts(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone, "check_lm_eval_tasks", lambda evaluation, site: [])

    def asked(path: object, *benchmarks: str, **options: str) -> list[Finding]:
        names = list(benchmarks) or ["lm-eval.arc_easy", "arithmetic"]
        given = {"benchmarks": names, "lm_eval": {"api": "completions", **options}}
        return check(tmp_path, path, evaluation=given, **elsewhere(None))

    (found,) = asked("a-name")
    assert (found.level, found.place) == ("error", "evaluation.lm_eval.tokenizer")
    assert "lm-eval.arc_easy" in found.message and "arithmetic" not in found.message
    assert "--set lm_eval.tokenizer=FOLDER" in found.cure
    assert asked("a-name", tokenizer="Qwen/Qwen3-8B") == []
    assert asked("a-name", api="chat") == []
    assert asked("a-name", "arithmetic") == []
    assert asked(whole) == []
