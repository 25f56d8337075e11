"""The user's files: right ones load, wrong ones give one message with place and cure."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.config.load import expand, find_site, find_spec, load_site, load_spec
from harness.errors import UserError

GOOD = """\
name: run
train:
  model_name: m
  dataset_name: d
  learning_rate: 2e-5
evaluation:
  benchmarks: [gsm8k]
  server: {engine: vllm}
"""


def spec_file(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_spec(spec_file(folder, text), overrides)
    return str(caught.value)


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    assert load_spec(spec_file(tmp_path, GOOD)).train.learning_rate == 2e-5


def test_a_slurm_time_is_not_read_as_seconds(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("jobs: {train: {time_limit: 24:00:00}}")
    assert load_site(site).options("train").time_limit == "24:00:00"


def test_the_name_defaults_to_the_files_own(tmp_path: Path) -> None:
    assert load_spec(spec_file(tmp_path, GOOD.replace("name: run\n", ""))).name == "spec"


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    spec = load_spec(
        spec_file(tmp_path, GOOD), ["train.learning_rate=1e-4", "evaluation.max_items=3"]
    )
    assert spec.train.learning_rate == 1e-4
    assert spec.evaluation is not None
    assert spec.evaluation.max_items == 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("learning_rate", "learning_rat"), "spec.yaml:5: train.learning_rat: unknown key; did you mean 'learning_rate'"),
        (("engine: vllm", "engine: vlm"), "spec.yaml:8: evaluation.server.engine"),
        (("learning_rate: 2e-5", "max_steps: many"), "spec.yaml:5: train.max_steps"),
        (("  model_name: m\n", ""), "spec.yaml:2: train.model_name: required"),
        (("[gsm8k]", "[gsm8k, gsm8k]"), "named twice: gsm8k"),
        (("name: run", "name: a b"), "spec.yaml:1: name"),
    ],
)  # fmt: skip
def test_a_mistake_names_line_field_and_value(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    assert expected in message(tmp_path, GOOD.replace(*change))


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert "spec.yaml:3:" in message(tmp_path, "train:\n  a: [1\nb: }")


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    assert "train.model_name: given twice" in message(
        tmp_path, GOOD.replace("  dataset_name: d", "  dataset_name: d\n  model_name: x")
    )


def test_a_wrong_override_is_named_by_its_own_words(tmp_path: Path) -> None:
    assert message(tmp_path, GOOD, "train.seeed=1").startswith(
        "--set train.seeed=1: train.seeed: unknown key"
    )
    assert "SECTION.FIELD=VALUE" in message(tmp_path, GOOD, "train.seed")


def test_an_unknown_spec_name_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean 'sft.yaml'"):
        find_spec("stf.yaml")


def test_a_bare_name_is_found_in_jobs() -> None:
    assert find_spec("sft.yaml").name == find_spec("sft").name == "sft.yaml"


def test_a_resolved_spec_loads_to_the_same(tmp_path: Path) -> None:
    spec = load_spec(spec_file(tmp_path, GOOD))
    again = spec_file(tmp_path, yaml.safe_dump(spec.model_dump(mode="json")))
    assert load_spec(again) == spec


def test_an_unset_variable_in_a_path_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with pytest.raises(UserError, match="not set"):
        expand("$NOT_SET_HERE/runs", "site: runs_dir")


def test_a_path_that_cannot_be_is_told_and_one_that_is_there_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a$NOT_SET_HERE").mkdir()
    assert expand("a$NOT_SET_HERE", "MODEL") == tmp_path / "a$NOT_SET_HERE"
    for text, why in (
        ("~no-such-user/x", "there is no such user"),
        ("x" * 300, "no file system takes so long a name"),
        ("a/" * 3000, "no file system takes so long a name"),
        ("a\0b", "no path holds the character U+0000"),
    ):
        with pytest.raises(UserError, match=f"^MODEL: .*{why.replace('+', '.')}"):
            expand(text, "MODEL")


@pytest.mark.parametrize("word", ["x" * 5000, "a\0b", "", "."])
def test_a_word_that_no_file_has_is_no_spec_and_no_site(word: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        find_spec(word)
    if word:
        with pytest.raises(UserError, match="no such site file"):
            find_site(word)


def test_a_site_is_overridden_by_its_own_option(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_site(None, ["slurm.partion=x"])
    assert str(caught.value).startswith("--set-site slurm.partion=x: slurm.partion: unknown key")


@given(st.text(max_size=60))
def test_any_text_either_loads_or_gives_a_message(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(text, encoding="utf-8", errors="replace")
        with pytest.raises(UserError):
            load_spec(path)


@given(st.text(max_size=40))
def test_any_override_either_loads_or_gives_a_message(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = spec_file(Path(folder), GOOD)
        with suppress(UserError):
            load_spec(path, [text])
