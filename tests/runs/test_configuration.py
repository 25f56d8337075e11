"""What a marker says of its training, and what differs from it now."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from harness.runs.configuration import (
    CHANGED,
    CONFIG,
    TEMPLATE,
    differences,
    record,
    template_digest,
)


class Kind(Enum):
    COSINE = "cosine"
    LINEAR = "linear"


@dataclass
class Model:
    model_name: str
    target: list[str] = field(default_factory=lambda: ["q"])


@dataclass
class Training:
    learning_rate: float = 2e-5
    scheduler: Kind = Kind.COSINE
    betas: tuple[float, ...] = (0.9, 0.999)
    seed: int | None = 42
    eos_token: str | None = None
    save_steps: int = 500
    device: Any = None


def marker(*arguments: Any, template: str | None = None) -> dict[str, Any]:
    return record(*arguments, template=template)


def test_plain_arguments_are_recorded_and_those_not_at_their_default_named() -> None:
    found = marker(Model("m"), Training(learning_rate=1e-4, scheduler=Kind.LINEAR), template="t")
    assert found[CONFIG] == {
        TEMPLATE: template_digest("t"),
        "model_name": "m",
        "target": ["q"],
        "learning_rate": 1e-4,
        "scheduler": "linear",
        "betas": (0.9, 0.999),
        "seed": 42,
        "eos_token": None,
        "device": None,
    }
    assert found[CHANGED] == ["learning_rate", "model_name", "scheduler"]


@pytest.mark.parametrize("value", [object(), math.nan, math.inf, {1, 2}, [object()]])
def test_what_json_cannot_hold_is_left_out(value: Any) -> None:
    found = marker(Training(device=value))
    assert "device" not in found[CONFIG]
    assert found[CHANGED] == []


def test_a_value_set_to_none_is_not_named_as_changed() -> None:
    assert marker(Training(seed=None))[CHANGED] == []
    assert marker(Training(seed=0))[CHANGED] == ["seed"]


def test_no_template_has_no_digest_and_an_empty_one_is_none() -> None:
    assert template_digest(None) is template_digest("") is None
    digest = template_digest("{{ a }}")
    assert digest is not None and len(digest) == 12
    assert template_digest("{{ a }}\n") != digest


def test_the_same_arguments_differ_in_nothing() -> None:
    known = marker(Model("m"), Training())
    assert differences(known, {"model_name": "m", "learning_rate": 2e-5, "seed": 42}) == {}
    # A list of one is how a command line gives its item; a tuple comes back from JSON as a list.
    assert differences(known, {"model_name": "m", "target": "q", "betas": [0.9, 0.999]}) == {}


def test_another_value_shows_what_it_was_and_is() -> None:
    known = marker(Model("m"), Training())
    found = differences(known, {"model_name": "n", "seed": None, "target": ["q", "v"]})
    assert found == {"model_name": ("m", "n"), "seed": (42, None), "target": (["q"], ["q", "v"])}


def test_zero_false_and_nothing_are_not_one_another() -> None:
    known = marker(Training(seed=None))
    assert differences(known, {"seed": 0}) == {"seed": (None, 0)}


def test_a_changed_value_that_is_left_out_now_is_a_difference() -> None:
    known = marker(Model("m"), Training(learning_rate=1e-4))
    assert differences(known, {"model_name": "m"}) == {"learning_rate": (1e-4, None)}
    assert differences(known, {}) == {"learning_rate": (1e-4, None), "model_name": ("m", None)}


def test_what_changes_how_and_not_what_is_learnt_does_not_count() -> None:
    known = marker(Training(save_steps=1))
    assert "save_steps" not in known[CONFIG]
    assert differences(known, {"save_steps": 7}) == {}
    # As a version that did not know it to be harmless would have recorded it.
    old = {CONFIG: {"save_steps": 1}, CHANGED: ["save_steps"]}
    assert differences(old, {"save_steps": 7}) == differences(old, {}) == {}


def test_arguments_that_the_marker_does_not_know_are_not_compared() -> None:
    assert differences(marker(Training()), {"a_newer_argument": 1}) == {}


@pytest.mark.parametrize("old", [{}, {CONFIG: None}, {CONFIG: []}, {CONFIG: "x"}])
def test_a_marker_that_says_nothing_differs_in_nothing(old: dict[str, Any]) -> None:
    assert differences(old, {"seed": 1}) == {}
    assert differences({CONFIG: {"seed": 1}, CHANGED: None}, {}) == {}


def test_a_template_counts_by_its_text_and_not_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "other name.jinja"
    file.write_text("{{ é }}", encoding="utf-8")
    known = marker(Training(), template="{{ é }}")
    assert differences(known, {"chat_template_path": str(file)}) == {}
    file.write_text("{{ b }}")
    assert differences(known, {"chat_template_path": str(file)}) == {
        "chat_template_path": (template_digest("{{ é }}"), template_digest("{{ b }}"))
    }
    assert differences(known, {"chat_template_path": None}) == {}


def test_a_template_that_cannot_be_read_and_an_odd_marker_are_no_traceback(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_bytes(b"caf\xe9")
    marker = {"config": {"seed": 1, "weight_decay": 0.1}, "changed": 5}
    arguments = {"seed": 1, "chat_template_path": str(template)}
    assert differences(marker, arguments) == {}
    assert differences({**marker, "changed": ["weight_decay"]}, arguments) == {
        "weight_decay": (0.1, None)
    }


@dataclass
class Filled(Training):
    """As TRL 1.14: what the default of a field means is settled by its class."""

    loss_type: str | None = None

    def __post_init__(self) -> None:
        self.as_given = dict(vars(self))
        self.loss_type = self.loss_type or "chunked_nll"


def test_what_a_class_makes_of_a_default_is_recorded_and_is_no_change() -> None:
    found = marker(Filled(seed=1))
    assert (found[CONFIG]["loss_type"], found[CHANGED]) == ("chunked_nll", ["seed"])
    assert differences(found, {"seed": 1}) == {}
    assert marker(Filled(loss_type="dft"))[CHANGED] == ["loss_type"]
