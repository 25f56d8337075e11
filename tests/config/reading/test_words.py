"""Whatever stands in whatever field: it loads, or one message says where, what and the cure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from harness.config.load import load_site, load_spec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.sft_fields import KIND_OF
from harness.errors import UserError

GOOD: dict[str, Any] = {
    "train": {"model_name": "m", "dataset_name": "d"},
    "evaluation": {"benchmarks": ["gsm8k"]},
}
PYDANTICS = re.compile(
    r"Input should|valid (integer|number|string|boolean|tuple|list|dictionary)|Value error|"
    r"Extra inputs|Field required|pydantic|literal\[|constrained|function-|error: error"
)
"""Words that are not ours."""
WRONG = (
    "null", "[]", "[1]", "[null]", "[[x]]", "['', '']", "{}", "{a: 1}", "{a: null}", "true",
    "false", "yes", "0", "-1", "1", "1.5", "1e3", "-0.0", "12345678901234567890", "1" * 5000,
    "1e999", ".inf", ".nan", "'1'", "''", "'  '", "x", "' x'", "'x\\n'", '"x\\n"', '"a\\nb"',
    "'\u0663'", "\u0663", "1\u0663", "2026-01-31", "12:30:00", "!!binary aGVsbG8=", "!!set {a}",
    "!!timestamp 2026-01-31", '"\\0"', '"\\ud800"', '"\\u2028"', "~no-such-user/x", f"'{'x' * 5000}'",
)  # fmt: skip
"""Null, lists, mappings, booleans, numbers of every size, texts of every kind; as YAML writes them."""


def places(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a model, and of those inside it."""
    for name, field in model.model_fields.items():
        inner = [m for m in _parts(field.annotation) if isinstance(m, type)]
        models = [m for m in inner if issubclass(m, BaseModel)]
        below = (*above, name)
        yield below
        if get_origin(field.annotation) is dict:
            below = (*below, "train")  # a kind of job and a role, too
            yield below
        for each in models[:1]:
            yield from places(each, below)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


FIELDS = sorted(
    {("spec", *place) for place in places(Spec)}
    | {("site", *place) for place in places(Site)}
    | {("spec", "train", name) for name in KIND_OF}
    | {("spec", "train", "weight_dekay"), ("site", "slurm", "partion"), ("spec", "tarin")}
)


def text_with(place: tuple[str, ...], value: str) -> str:
    """A right file but for one value, each key on a line of its own."""
    kind, *keys = place
    data = json.loads(json.dumps(GOOD)) if kind == "spec" else {}
    target = data
    for key in keys[:-1]:
        if isinstance(target.get(key), str):  # a dataset: its folder, or a list of entries
            entry: dict[str, Any] = {"path": target[key]}
            target[key], target = [entry], entry
        else:
            target = target.setdefault(key, {})
    target[keys[-1]] = "@"
    return json.dumps(data, indent=1).replace('"@"', value)


def test_there_are_as_many_fields_as_one_would_think() -> None:
    assert len(FIELDS) > 200
    assert ("spec", "evaluation", "judge", "serve", "server", "flags", "train") in FIELDS


@pytest.mark.long
@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FIELDS), st.sampled_from(WRONG))
def test_any_value_in_any_field_loads_as_it_is_or_is_told_in_our_words(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "words"
    folder.mkdir(exist_ok=True)
    file = folder / f"{place[0]}.yaml"
    file.write_text(text_with(place, value), encoding="utf-8")
    try:
        loaded = load_spec(file) if place[0] == "spec" else load_site(file)
    except UserError as error:
        check_message(str(error), file, place[1:])
        return
    assert kind_is_kept(loaded.model_dump(), place[1:], value)


def check_message(told: str, file: Path, keys: tuple[str, ...]) -> None:
    assert not PYDANTICS.search(told), told
    first = told.splitlines()[0]
    assert re.match(rf"{re.escape(str(file))}:[0-9]+: ", first), told
    assert keys[0] in first, told
    assert len(first) < 800, told
    candidates = re.findall(r"did you mean '([^']*)' or '([^']*)'", told)
    assert all(one != two for one, two in candidates), told


def kind_is_kept(data: Any, keys: tuple[str, ...], value: str) -> bool:
    """Whether a boolean stayed one, a number a number and a text a text."""
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return True  # TRL's own, kept in `sft`
        data = data[key]
    if value in ("true", "false", "yes"):
        return isinstance(data, bool)
    if re.fullmatch(r"-?[0-9.]+(e[0-9]+)?", value):
        # A Slurm time is kept as text; a field without a value of its own takes null.
        return (isinstance(data, int | float) and not isinstance(data, bool)) or "time" in keys[-1]
    return True


def load_message(folder: Path, text: str) -> str:
    file = folder / "spec.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_spec(file)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_field_in_two_places_names_both_lines(tmp_path: Path) -> None:
    text = (
        "train:\n  model_name: m\n  dataset_name: d\n  weight_decay: 0.1\n"
        "  sft:\n    weight_decay: 0.2\n"
    )
    assert load_message(tmp_path, text) == (
        "spec.yaml:4: train.weight_decay: stands in `train` and in `train.sft`; leave one out; "
        "see spec.yaml:6"
    )
    same = text.replace("0.2", "0.1")
    assert "leave one out; see spec.yaml:6" in load_message(tmp_path, same)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("weight_decay: abc", "a number is expected (got 'abc')"),
        ("weight_decay: true", "a number is expected (got true)"),
        ("group_by: 1", "unknown key"),
        ("data_seed: 1.5", "a whole number is expected (got 1.5)"),
        ("use_liger_kernel: 1", "true or false is expected (got 1)"),
        ("optim: adamw_torch_fuse", "did you mean 'adamw_torch_fused' or"),
        ("lr_scheduler_type: cosin", "is expected; did you mean 'cosine'"),
        (
            "packing_strategy: bdf",
            "'bfd', 'bfd_split' or 'wrapped' is expected; did you mean 'bfd'?",
        ),
    ],
)
def test_a_field_of_trl_is_of_the_kind_that_trl_takes(
    tmp_path: Path, field: str, words: str
) -> None:
    told = load_message(tmp_path, f"train:\n  model_name: m\n  dataset_name: d\n  {field}\n")
    assert told.startswith(f"spec.yaml:4: train.{field.partition(':')[0]}: ")
    assert words in told


def test_each_wrong_field_is_told_once_and_all_at_once(tmp_path: Path) -> None:
    told = load_message(
        tmp_path,
        "train:\n  model_name: m\n  dataset_name: d\n  max_steps: true\n  seed: -1\n"
        "evaluation:\n  benchmarks: [gsm8k]\n  server:\n    flags: {a: null}\n  checkpoints: [x]\n",
    )
    assert told.splitlines() == [
        "spec.yaml:4: train.max_steps: a whole number is expected (got true)",
        "spec.yaml:5: train.seed: a number of at least 0 is expected (got -1)",
        "spec.yaml:10: evaluation.checkpoints.0: a whole number is expected (got 'x')",
        "spec.yaml:9: evaluation.server.flags.a: a text, a number, true or false is expected; JSON is "
        "given as text in quotes, several values as a text with blanks between them (got null)",
    ]


def test_a_candidate_is_offered_once(tmp_path: Path) -> None:
    told = load_message(tmp_path, "train:\n  model_name: m\n  dataset_name: d\n  max_lenght: 8\n")
    assert "did you mean 'max_length'?" in told
