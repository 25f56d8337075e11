"""An engine's own parser, told as JSON: argparse, click, and what a conversion takes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from harness.config.engine_flags import describe
from harness.config.engine_flags.definitions import Definitions, recorded
from harness.config.engines import ENGINES

PARSER = """
import argparse, json
class FlexibleArgumentParser(argparse.ArgumentParser):
    pass
def size(text):
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)
def optional(text):
    return None if text == "None" else json.loads(text)
def add(parser):
    parser.add_argument("model", nargs="?")
    parser.add_argument("--plain", "-p")
    parser.add_argument("--long-name", "--alias", type=int, dest="other")
    parser.add_argument("--share", type=float)
    parser.add_argument("--room", type=size)
    parser.add_argument("--config", type=optional)
    parser.add_argument("--table", type=lambda text: dict(json.loads(text)))
    parser.add_argument("--pick", choices=["b", "a", None])
    parser.add_argument("--fold", type=lambda s: s.lower().replace("-", "_"), choices=["a_b"])
    parser.add_argument("--number", type=int, choices=[2, 1])
    parser.add_argument("--many", nargs="*")
    parser.add_argument("--two", nargs=2)
    parser.add_argument("--perhaps", nargs="?", const="x")
    parser.add_argument("--on", action="store_true")
    parser.add_argument("--either", action=argparse.BooleanOptionalAction)
    parser.add_argument("--no-way", action="store_true")
    parser.add_argument("-q", action="store_true")
    print("said on the way")
class Args:
    add = staticmethod(add)
def make(parser):
    add(parser)
    return parser
"""


def told(folder: Path, *places: str, package: str = "pydantic") -> dict[str, Any]:
    (folder / "engine_of_a_test.py").write_text(PARSER)
    done = subprocess.run(
        [sys.executable, describe.__file__, "mine", package, *places],
        capture_output=True, text=True, env={"PYTHONPATH": str(folder)}, check=True,
    )  # fmt: skip
    assert "said on the way" in done.stderr
    return dict(json.loads(done.stdout))


def test_every_kind_of_flag_is_told(tmp_path: Path) -> None:
    found = told(tmp_path, "engine_of_a_test:Args.add")
    assert (found["engine"], found["version"]) == ("mine", metadata.version("pydantic"))
    assert (found["abbreviates"], found["nests"]) == (True, True)
    flags = {row["sets"]: row for row in found["flags"]}
    assert flags.keys() == {
        "plain", "other", "share", "room", "config", "table", "pick", "fold", "number", "many", "two",
        "perhaps", "on", "either", "no_way",
    }  # fmt: skip
    assert flags["plain"] == {"names": ["plain"], "sets": "plain", "takes": "one", "kind": "text"}
    assert flags["other"]["names"] == ["long-name", "alias"]
    kinds = {name: flags[name]["kind"] for name in ("other", "share", "room", "config", "table")}
    assert kinds == {"other": "integer", "share": "number", "room": "size", "config": "json",
                     "table": "object"}  # fmt: skip
    assert flags["pick"]["choices"] == ["b", "a"]
    assert flags["fold"] == {"names": ["fold"], "sets": "fold", "takes": "one", "kind": "text",
                             "choices": ["a_b"], "folds": True}  # fmt: skip
    assert flags["number"]["choices"] == ["2", "1"]
    takes = {name: flags[name]["takes"] for name in ("many", "two", "perhaps", "on", "either")}
    assert takes == {"many": "several", "two": "several", "perhaps": "maybe", "on": "nothing",
                     "either": "nothing"}  # fmt: skip
    assert flags["either"] == {"names": ["either"], "sets": "either", "takes": "nothing",
                               "negatable": True}  # fmt: skip
    assert "negatable" not in flags["on"] and flags["no_way"]["names"] == ["no-way"]
    Definitions.model_validate_json(json.dumps(found))


def test_the_first_place_that_is_there_is_taken(tmp_path: Path) -> None:
    places = ("no_such_module:x", "engine_of_a_test:no_such", "engine_of_a_test:make")
    assert len(told(tmp_path, *places)["flags"]) == 15
    with pytest.raises(ImportError, match="no_such_module:x: No module named"):
        describe.describe("mine", "pydantic", ["no_such_module:x"])


def test_kinds_are_learnt_from_what_a_conversion_takes() -> None:
    def nothing(text: str) -> None:
        raise argparse.ArgumentTypeError(text)

    assert describe.kind_of(str) == "text"
    assert describe.kind_of(json.loads) == "json"
    assert describe.kind_of(nothing) == "any"


@pytest.mark.long
def test_the_transformers_here_are_described_as_they_are_recorded() -> None:
    row = ENGINES["transformers"]
    known = recorded("transformers", metadata.version("transformers"))
    if known is None or known.version != metadata.version("transformers"):
        pytest.skip("another version of transformers is recorded")
    found = describe.describe("transformers", row.package, list(row.flags_from))
    assert Definitions.model_validate_json(json.dumps(found)) == known
