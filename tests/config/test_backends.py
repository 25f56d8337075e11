"""Options for programs that evaluate by themselves; what works against the harness is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.config.backends import LmEvalSpec, NemoSkillsSpec
from harness.config.load import load_spec
from harness.errors import quoted
from tests.config.test_load import GOOD, message, spec_file


def refused(folder: Path, setting: str, name: str | None = None) -> str:
    """The message about a setting of `evaluation` (or `name` in it), without its place, which is
    checked here."""
    field = setting.partition("=")[0] + (f".{name}" if name is not None else "")
    place = f"--set evaluation.{setting}: evaluation.{quoted(field)}: "
    text = message(folder, GOOD, f"evaluation.{setting}")
    assert text.startswith(place)
    assert "\n" not in text
    return text.removeprefix(place)


def test_nothing_needs_to_be_given(tmp_path: Path) -> None:
    evaluation = load_spec(spec_file(tmp_path, GOOD)).evaluation
    assert evaluation is not None
    assert evaluation.nemo_skills == NemoSkillsSpec()
    assert evaluation.lm_eval == LmEvalSpec()
    # Unknown is None, never a number that would be passed on.
    assert (evaluation.nemo_skills.chunks, evaluation.lm_eval.num_fewshot) == (None, None)
    assert evaluation.lm_eval.api == "chat"


@pytest.mark.parametrize(
    "override",
    [
        "++prompt_config=generic/math",
        "+a=",
        "a.b=c",
        "~a",
        "~a=b",
        "server.x=1",
        "+g/h@p.q=v",
        "++p='it''s \"x\" 🙂'",
    ],
)
def test_an_override_is_taken_as_it_is(override: str) -> None:
    assert NemoSkillsSpec(overrides=(override,)).overrides == (override,)


@pytest.mark.parametrize(
    "override",
    [
        "",
        "a",
        "++",
        "=x",
        "++=x",
        "--a",
        "++a =b",
        " ++a=b",
        "+++a=b",
        "~",
        "~…",
        "~a b",
        "~ a",
        "++é=1",
        "+~a=b",
    ],
)
def test_what_is_no_override_is_quoted_with_the_form(override: str) -> None:
    with pytest.raises(ValueError, match=r"is no override; \+\+FIELD=VALUE is expected") as caught:
        NemoSkillsSpec(overrides=("++good=1", override))
    assert repr(override) in str(caught.value)


@pytest.mark.parametrize("override", ["++a=b\n++c=d", "~a\n", "++a=b\n", "++a=\x00"])
def test_an_override_is_one_line(override: str) -> None:
    with pytest.raises(ValueError, match="must be one line without control characters"):
        NemoSkillsSpec(overrides=("++good=1", override))


@pytest.mark.parametrize("prefix", ["", "+", "++", "~"])
@pytest.mark.parametrize(
    "name", ["max_samples", "server", "server.model", "server.base_url", "server.server_type"]
)
def test_what_the_harness_sets_is_no_override(name: str, prefix: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is set by the harness and cannot be given here"):
        NemoSkillsSpec(overrides=(f"{prefix}{name}=5",))


def test_an_override_of_a_field_with_a_longer_name_is_the_users() -> None:
    assert NemoSkillsSpec(overrides=("++max_samples_of=5", "++server.model_x=y")).overrides


@pytest.mark.parametrize("section", ["nemo_skills", "lm_eval"])
def test_options_go_by_their_long_names(section: str, tmp_path: Path) -> None:
    given = f"evaluation.{section}.options={{split: test, with-dash: 0.5, flag: true, zero: 0}}"
    evaluation = load_spec(spec_file(tmp_path, GOOD), [given]).evaluation
    options = getattr(evaluation, section).options
    assert options == {"split": "test", "with-dash": 0.5, "flag": True, "zero": 0}
    assert options["flag"] is True and options["zero"] is not False
    for name in ("--split", "-s", "two words", "a=b", "'a.b'", "''", '"it\'s\\n"'):
        told = refused(tmp_path, f"{section}.options={{{name}: 1}}", yaml.safe_load(name))
        assert told.endswith("is not the long name of an option (no leading dashes)")


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("nemo_skills", ["output_dir", "benchmarks", "model", "server_type", "server_address",
                         "server_gpus", "cluster", "data_dir", "num_chunks", "expname"]),
        ("lm_eval", ["tasks", "model", "model_args", "limit", "output_path", "log_samples",
                     "include_path", "num_fewshot", "use_cache", "config"]),
    ],
)  # fmt: skip
def test_options_that_the_harness_sets_are_refused_however_they_are_spelt(
    section: str, names: list[str], tmp_path: Path
) -> None:
    for name in {*names, *(name.replace("_", "-") for name in names)}:
        told = refused(tmp_path, f"{section}.options={{{name}: x}}", name)
        assert told == f"{name} is set by the harness and cannot be given here"


@pytest.mark.parametrize("name", ["limi", "mode", "n", "num-few", "output", "task", "model_arg"])
def test_what_argparse_would_complete_to_an_option_of_ours_is_refused(
    name: str, tmp_path: Path
) -> None:
    told = refused(tmp_path, f"lm_eval.options={{{name}: 5}}", name)
    assert told.startswith(f"{name} may be taken for ")
    assert told.endswith("which is set by the harness; give the option's whole name")


@pytest.mark.parametrize("section", ["nemo_skills", "lm_eval"])
def test_no_option_hides_in_the_value_of_another(section: str, tmp_path: Path) -> None:
    told = refused(tmp_path, f"{section}.options={{given: top_k=5 --limit 5}}", "given")
    assert told == "holds another option (got 'top_k=5 --limit 5'); give each by its name"
    kept = f"evaluation.{section}.options={{given: 'temperature=-0.5 stop=a-b'}}"
    assert load_spec(spec_file(tmp_path, GOOD), [kept])
    told = refused(tmp_path, f'{section}.options={{given: "a\\nb"}}')
    assert told == "must be one line without control characters"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nemo_skills.chunks=0", "a number of at least 1 is expected (got 0)"),
        ("nemo_skills.timeout_hours=0", "a number above 0 is expected (got 0)"),
        ("lm_eval.timeout_hours=-1", "a number above 0 is expected (got -1)"),
        ("lm_eval.num_fewshot=-1", "a number of at least 0 is expected (got -1)"),
        ("lm_eval.api=responses", "'chat' or 'completions' is expected (got 'responses')"),
    ],
)
def test_sizes_and_words_out_of_range_are_shown(setting: str, words: str, tmp_path: Path) -> None:
    assert words in refused(tmp_path, setting)


def test_no_examples_is_not_the_same_as_unset(tmp_path: Path) -> None:
    evaluation = load_spec(
        spec_file(tmp_path, GOOD), ["evaluation.lm_eval.num_fewshot=0"]
    ).evaluation
    assert evaluation is not None
    assert evaluation.lm_eval.num_fewshot == 0
