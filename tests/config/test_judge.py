"""Who judges: one judge and not two, an address without a key, limits that make sense."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.config.judge import OPENAI, JudgeSpec
from tests.config.test_load import GOOD, message

HERE = "http://node:8000/v1"


def refused(folder: Path, **judge: Any) -> str:
    """The message about a judge, without its place, which is checked here."""
    setting = f"evaluation.judge={json.dumps(judge)}"
    told = message(folder, GOOD, setting)
    assert told.startswith(f"--set {setting}: evaluation.judge")
    assert "\n" not in told
    return told.removeprefix(f"--set {setting}: evaluation.judge")


def test_unset_is_the_published_judge_with_a_key_of_the_shell() -> None:
    judge = JudgeSpec()
    assert (judge.base_url, judge.api_key_env) == (OPENAI, "OPENAI_API_KEY")
    assert (judge.model, judge.serve, judge.max_tokens) == (None, None, None)
    assert judge.temperature == 0.0


def test_no_key_and_no_temperature_are_null_and_not_unset() -> None:
    judge = JudgeSpec.model_validate({"api_key_env": None, "temperature": None})
    assert (judge.api_key_env, judge.temperature) == (None, None)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (HERE, HERE),
        (HERE + "/", HERE),
        ("https://h", "https://h"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        (HERE + "/chat/completions", HERE),
        ("https://h/a/b//", "https://h/a/b"),
    ],
)
def test_an_address_is_kept_without_its_last_slash(url: str, kept: str) -> None:
    assert JudgeSpec(base_url=url, model="m").base_url == kept


def test_the_published_address_with_a_slash_is_still_the_published_one() -> None:
    assert JudgeSpec(base_url=f"{OPENAI}/").base_url == OPENAI  # so no model needs to be named


@pytest.mark.parametrize(
    "url",
    ["", "node:8000/v1", "ftp://h/v1", "http://", "http:///v1", "http://user:key@h/v1",
     "http://h/v1?api-key=k", "http://h/v1#k", "http://h /v1", "http://h/a b", " http://h/v1",
     "http://h/v1\nx", "http://h:99999/v1", "http://[::1/v1"],
)  # fmt: skip
def test_no_key_hides_in_an_address(url: str, tmp_path: Path) -> None:
    told = refused(tmp_path, base_url=url, model="m")
    assert "key" not in told.replace("without a key in it", "").replace("key's variable", "")
    usual = "http://host/v1 or https://host/v1 is expected, without a key in it"
    blank = "it begins or ends with a blank", "it is empty", "must be one line"
    assert told.startswith(tuple(f".base_url: {words}" for words in (usual, *blank)))


def test_another_address_needs_the_name_of_its_model(tmp_path: Path) -> None:
    told = refused(tmp_path, base_url=HERE)
    assert told == f".base_url: name the model that {HERE} serves (judge.model)"


@pytest.mark.parametrize("more", [{"model": "m"}, {"base_url": HERE, "model": "m"}])
def test_a_judge_served_here_names_its_model_itself(more: dict[str, str], tmp_path: Path) -> None:
    told = refused(tmp_path, serve={"model": "/judge"}, **more)
    assert told == ".serve: serve names a model of its own: give neither model nor base_url"
    served = JudgeSpec.model_validate({"serve": {"model": "/judge"}})
    assert served.serve is not None
    assert served.serve.server.engine == "vllm"


@pytest.mark.parametrize("field", ["model", "messages", "temperature", "max_tokens", "n", "stream"])
def test_the_body_holds_nothing_that_the_harness_sets(field: str, tmp_path: Path) -> None:
    told = refused(tmp_path, body={"reasoning_effort": "low", field: 1})
    assert told.startswith(f".body.{field}: {field} is set by the harness and cannot be given here")


def test_further_fields_of_a_request_keep_their_kind() -> None:
    body = {"max_completion_tokens": 4096, "reasoning_effort": "low", "store": False, "x": 0.5}
    assert JudgeSpec.model_validate({"body": body}).body == body
    nested = {"metadata": {"nested": [1, None]}, "temperature": None}
    assert JudgeSpec.model_validate({"body": nested}).body == nested
    with pytest.raises(ValidationError):
        JudgeSpec.model_validate({"body": {"metadata": {"day": date(2026, 1, 1)}}})


@pytest.mark.parametrize(
    ("field", "wrong", "least"),
    [
        ("concurrency", 0, 1),
        ("temperature", -0.1, 0),
        ("max_tokens", 15, 16),
        ("timeout_minutes", 0, 0.1),
        ("retries", -1, 0),
        ("max_invalid_share", 1.1, 1),
    ],
)
def test_a_limit_out_of_range_is_shown(
    field: str, wrong: float, least: float, tmp_path: Path
) -> None:
    told = refused(tmp_path, **{field: wrong})
    assert told.startswith(f".{field}: a number ")
    assert told.endswith(f"(got {wrong})")
    assert getattr(JudgeSpec.model_validate({field: least}), field) == least


@pytest.mark.parametrize("name", ["", "1KEY", "MY KEY", "A=b", "$KEY", "sk-abc", "it's"])
def test_the_key_is_named_and_never_given(name: str, tmp_path: Path) -> None:
    told = refused(tmp_path, api_key_env=name)
    assert told.startswith(f".api_key_env: {name!r} is not a name of an environment variable")


def test_a_model_is_named_on_one_line(tmp_path: Path) -> None:
    assert JudgeSpec(model='it\'s "ü" 🙂').model == 'it\'s "ü" 🙂'
    assert ".model: must be one line" in refused(tmp_path, model="a\nb")
