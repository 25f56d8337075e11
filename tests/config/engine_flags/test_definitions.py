"""What an engine's parser would make of a name and of a value, by the flags that are recorded."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve import ServeRequest, command
from harness.config.engine_flags.definitions import (
    RECORDED,
    Definitions,
    Flag,
    public,
    read_definitions,
    recorded,
)
from harness.config.engines import ENGINES
from tests.runs.models.test_adapters import adapter

ALL = sorted(ENGINES)


def flag(**fields: Any) -> Flag:
    return Flag.model_validate({"names": ("max-x", "x"), "sets": "x", "takes": "one", **fields})


@pytest.mark.parametrize(
    ("fields", "right", "wrong"),
    [
        ({"takes": "nothing"}, [True, False], [1, 0, "true", ""]),
        ({"kind": "integer"}, [1, -1, "7", 0], [True, False, 1.5, 4.0, "many", "", "1k"]),
        ({"kind": "number"}, [1, 0.5, "1e-3", -1], [True, "half", ""]),
        ({"kind": "size"}, [4096, "4k", "1.5M", "auto", -1], [True, "many", 1.5e-3, ""]),
        ({"kind": "text"}, ["a", "", 1, 1.5], [True, False]),
        ({"kind": "json"}, ['{"a": 1}', "[1]", 3, "null"], [True, "{a: 1}", "word"]),
        ({"kind": "object"}, ['{"a": 1}', "{}"], [True, "[1]", 3, "{a: 1}"]),
        ({"kind": "list"}, ["[1]"], ["{}", "1", True]),
        ({"kind": "any"}, ["a", 1], [True]),
        ({"choices": ("a", "b-c", "4")}, ["a", "b-c", 4], ["A", "b_c", True, "", 5]),
        ({"choices": ("a", "b_c"), "folds": True}, ["A", "B-c"], ["c"]),
        ({"takes": "several", "kind": "integer"}, [1, "1 2  4"], [True, "1,2", "1 x"]),
        ({"takes": "several", "choices": ("a", "b")}, ["a", "a b"], ["a c"]),
        ({"takes": "maybe", "kind": "text"}, [True, "x"], [False]),
    ],
)
def test_a_value_is_of_the_kind_that_the_flag_takes(
    fields: dict[str, Any], right: list[Any], wrong: list[Any]
) -> None:
    asked = flag(**fields)
    assert [value for value in right if asked.wrong(value)] == []
    assert [value for value in wrong if not asked.wrong(value)] == []


@pytest.mark.parametrize(
    ("fields", "value", "told"),
    [
        ({"takes": "nothing"}, 1, "is a switch: write max-x: true"),
        ({"kind": "integer"}, True, "takes a whole number, not true"),
        ({"kind": "integer"}, "many", "takes a whole number, not 'many'"),
        ({"choices": ("a", "b")}, "c", "'c' is none of its values: a, b"),
        ({"choices": ("a", "b")}, False, "takes one of a, b, not false"),
        ({"kind": "object"}, "[1]", "takes a JSON object, as text in quotes, not '[1]'"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_right(
    fields: dict[str, Any], value: Any, told: str
) -> None:
    assert flag(**fields).wrong(value) == told


def two(**fields: Any) -> Definitions:
    flags = (flag(negatable=True), flag(names=("max-y",), sets="y"))
    given = {"engine": "e", "version": "1", "abbreviates": True, "nests": False, "flags": flags}
    return Definitions.model_validate({**given, **fields})


def test_a_name_is_its_own_a_negation_or_a_beginning() -> None:
    known = two()
    assert known.names == ["max-x", "x", "max-y"]
    for name in ("max-x", "x", "no-max-x", "no-x"):
        found = known.named(name)
        assert found and found.name == "max-x"
    assert known.named("no-max-y") is known.named("max") is None
    assert known.beginning("max") == ["max-x", "max-y"]
    assert known.beginning("no-m") == ["no-max-x"]
    assert two(abbreviates=False).beginning("max") == []


@pytest.mark.parametrize("engine", ALL)
def test_each_engine_has_its_flags_recorded(engine: str) -> None:
    known = recorded(engine)
    assert known is not None and known.engine == engine and len(known.flags) > 20
    assert {"host", "port", "dtype"} <= set(known.names)
    # `extra` writes names with dashes.
    assert not [name for name in known.names if "_" in name or name.startswith("-")]


@pytest.mark.parametrize("engine", ALL)
def test_what_the_harness_sets_is_a_flag_of_the_engine(engine: str) -> None:
    known = recorded(engine)
    assert known is not None
    short = {"tp", "dp", "force-model"}  # `-tp` of vLLM; the positional of transformers
    own = set(ENGINES[engine].own_flags) - short
    assert own <= set(known.names), own - set(known.names)


@pytest.mark.parametrize("engine", ALL)
def test_each_flag_of_our_command_is_known_and_nobody_elses(engine: str, tmp_path: Path) -> None:
    row = ENGINES[engine]
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    wanted: dict[str, Any] = {
        "tensor_parallel": 2, "data_parallel": 2, "max_model_len": 64, "reasoning_parser": "qwen3",
        "gpu_memory_utilization": 0.5, "lora_adapters": {"a": str(adapter(tmp_path / "a", b=[1.0]))},
    }  # fmt: skip
    if row.lacks:
        wanted = {}
    argv = command(
        ServeRequest(engine=engine, model="/m", served_name="m", log_path=tmp_path / "l",
                     chat_template=str(tmp_path / "t.jinja"), **wanted), 12000,
    )  # fmt: skip
    known = recorded(engine)
    assert known is not None
    used = {word[2:] for word in argv if word.startswith("--")}
    assert {"port", "host", "dtype"} <= used <= set(known.names)
    merged = {"chat-template-kwargs"}  # the user's own and ours go together
    assert used - merged <= set(row.own_flags)


def test_a_version_is_its_own_record_and_else_the_newest(tmp_path: Path) -> None:
    assert public("0.32.0+cpu") == public("0.32.0") == "0.32.0"
    (file,) = RECORDED.glob("vllm-*.json")
    version = file.stem.removeprefix("vllm-")
    for asked in ("", version, f"{version}+cu129", "99.0"):
        found = recorded("vllm", asked)
        assert found is not None and found.version == version
    assert recorded("no-such-engine") is None
    (tmp_path / "torn.json").write_text('{"engine": ')
    with pytest.raises(ValueError, match="JSON"):
        read_definitions(tmp_path / "torn.json")


def of_argparse() -> tuple[argparse.ArgumentParser, Definitions]:
    """A parser of argparse with a flag of each kind, and its definitions."""
    from harness.config.engine_flags.describe import of_argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int)
    parser.add_argument("--share", type=float)
    parser.add_argument("--mode", choices=["fast", "slow"])
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--both", action=argparse.BooleanOptionalAction)
    parser.add_argument("--many", type=int, nargs="+")
    parser.add_argument("--name", default="")
    flags = [Flag.model_validate_json(_json(row)) for row in of_argparse(parser)]
    return parser, two(flags=tuple(flags))


def _json(row: dict[str, Any]) -> str:
    import json

    return json.dumps(row)


VALUES = (True, False, 0, 1, -1, 1.5, "", "1", "1.5", "x", "fast", "Fast", "1 2", "-x", "true")


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_a_check_says_of_every_value_what_argparse_says(value: Any) -> None:
    from harness.compute.serve.request import extra
    from harness.config.engines import EngineKind

    parser, known = of_argparse()
    row = EngineKind(name="none", tensor_parallel=1, data_parallel=1, max_model_len=None, port=8000,
                     package="none", drops_false=True)  # fmt: skip
    for each in known.flags:
        if each.takes == "several" and " " in str(value):
            words = [f"--{each.name}", *str(value).split()]
        elif value is False and each.negatable:
            words = [f"--no-{each.name}"]
        else:
            words = extra({each.name: value}, row)
        with contextlib.redirect_stderr(io.StringIO()) as told:
            try:
                parser.parse_args(words)
                taken = True
            except SystemExit:
                taken = False
        # False is left out where there is no `--no-…`: nothing that argparse could refuse.
        if value is False and each.takes != "nothing":
            assert each.wrong(value)
            continue
        assert taken == (not each.wrong(value)), (each.name, value, told.getvalue())
