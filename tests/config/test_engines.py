"""The table of engines agrees with itself, with the code of each, and with the help texts."""

from __future__ import annotations

import re

import pytest

from harness.config.engines import CPU_ENGINE, DEFAULT, ENGINES, shown_defaults, shown_names
from tests.support import ROOT

ALL = sorted(ENGINES)


@pytest.mark.parametrize("name", ALL)
def test_a_row_of_the_table_is_whole(name: str) -> None:
    row = ENGINES[name]
    assert row.name == name
    assert row.tensor_parallel >= 1 and row.data_parallel >= 1
    assert row.max_model_len is None or row.max_model_len >= 16
    assert 1024 <= row.port <= 65535
    assert row.package
    assert row.version_path == "" or row.version_path.startswith("/")


@pytest.mark.parametrize("name", ALL)
def test_an_engine_has_a_file_of_its_name_that_builds_its_command(name: str) -> None:
    file = ROOT / "harness" / "compute" / "serve" / f"{name}.py"
    assert re.search(r"^ENGINE\b", file.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_default_needs_gpus_and_what_stands_in_without_them_needs_none() -> None:
    assert DEFAULT in ENGINES
    assert not ENGINES[DEFAULT].on_cpu
    assert ENGINES[CPU_ENGINE].on_cpu
    assert ENGINES[CPU_ENGINE].tensor_parallel == ENGINES[CPU_ENGINE].data_parallel == 1


def test_the_default_guards_its_key_its_name_and_its_context() -> None:
    # Checks that are left out for an engine that cannot do these must not be left out for vLLM.
    row = ENGINES[DEFAULT]
    assert row.checks_key and row.lists_model and row.bounds_context and row.serves_adapters
    assert not row.samples_by_config


def test_help_names_each_engine_once_and_marks_the_default() -> None:
    shown = shown_names().split(", ")
    assert [word.removesuffix(" (default)") for word in shown] == list(ENGINES)
    assert [word for word in shown if word.endswith(" (default)")] == [f"{DEFAULT} (default)"]


@pytest.mark.parametrize(
    ("field", "usual", "shown"),
    [
        ("tensor_parallel", 1, "vllm 8, else 1"),
        ("data_parallel", 1, "sglang 4, else 1"),
        ("port", 8000, "vllm 12738, else 8000"),
    ],
)
def test_help_shows_defaults_that_differ_and_the_usual_one(
    field: str, usual: int, shown: str
) -> None:
    assert shown_defaults(field, usual) == shown
    told = dict(part.split(" ") for part in shown.split(", "))
    for name, row in ENGINES.items():
        assert str(getattr(row, field)) == told.get(name, told["else"])


def test_a_field_that_no_engine_has_is_a_mistake_of_ours() -> None:
    with pytest.raises(AttributeError):
        shown_defaults("tensor_paralel", 1)
