"""Whose flags a check goes by: the record of that very version, what was kept, the engine itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.engine_flags.definitions import recorded
from harness.config.engines import ENGINES, EngineKind
from harness.config.site import Site
from harness.preflight import asking
from harness.preflight.evaluation import known_flags as module
from harness.preflight.evaluation.known_flags import kept_file, known_flags

VLLM = ENGINES["vllm"]
PARSER = """
import pathlib
pathlib.Path({note!r}).open("a").write("imported\\n")
def make_arg_parser(parser):
    parser.add_argument("--only-in-this-version", type=int)
    return parser
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "it's a cache"))
    return tmp_path / "it's a cache"


class Environment:
    """A role's environment with a vLLM of its own; its parser notes each import."""

    def __init__(self, folder: Path, version: str, parser: str = PARSER) -> None:
        self.note = folder / "imports"
        package = folder / "site" / "vllm" / "entrypoints" / "openai"
        package.mkdir(parents=True)
        (package / "cli_args.py").write_text(parser.format(note=str(self.note)))
        info = folder / "site" / f"vllm-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
        lines = (f"export PYTHONPATH='{folder}/site'", "echo welcome to this environment")
        self.site = Site.model_validate({"environments": {"vllm": {"activate": lines}}})

    @property
    def imports(self) -> int:
        return len(self.note.read_text().splitlines()) if self.note.is_file() else 0


@pytest.mark.long
def test_of_a_recorded_version_the_record_is_taken_and_nothing_imported(tmp_path: Path) -> None:
    known = recorded("vllm")
    assert known is not None
    there = Environment(tmp_path, f"{known.version}+cu129")
    found = known_flags(VLLM, there.site)
    assert (found.definitions, found.exact) == (known, True)
    assert there.imports == 0


@pytest.mark.long
def test_of_another_version_the_engine_is_asked_once(tmp_path: Path) -> None:
    there = Environment(tmp_path, "99.1")
    for _ in range(2):
        found = known_flags(VLLM, there.site)
        assert found.exact and found.definitions is not None
        assert found.definitions.names == ["only-in-this-version"]
    assert there.imports == 1
    assert kept_file("vllm", "99.1").is_file()
    kept_file("vllm", "99.1").write_text('{"torn')
    assert known_flags(VLLM, there.site).exact
    assert there.imports == 2


@pytest.mark.long
@pytest.mark.parametrize("parser", ["raise SystemExit(3)", "import no_such", "print('x' * {note})"])
def test_an_engine_that_does_not_tell_leaves_the_record_and_its_version(
    tmp_path: Path, parser: str, cache: Path
) -> None:
    found = known_flags(VLLM, Environment(tmp_path, "99.2", parser).site)
    assert (found.definitions, found.exact) == (recorded("vllm"), False)
    assert found.why == "99.2 will serve, and did not tell its own"
    assert not list(cache.rglob("*.json"))


@pytest.mark.long
def test_an_engine_that_takes_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_S", 0.5)
    there = Environment(tmp_path, "99.3", "import time; time.sleep(60) # {note}")
    assert not known_flags(VLLM, there.site).exact


@pytest.mark.long
@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"activate": ["false"], "variables": {}}, "which one will serve cannot be told from here"),
        ({"activate": ["exit 1"]}, "which one will serve cannot be told from here"),
        ({"activate": ["source /no/such/bin/activate"]}, "which one will serve cannot be told"),
        ({"container": "/images/vllm.sif"}, "which one its container has is not looked at"),
        ({}, "which one will serve cannot be told from here"),
    ],
    ids=["no vllm", "exits", "no folder", "container", "nothing"],
)
def test_an_unknown_version_is_not_taken_for_the_recorded_one(
    environment: dict[str, Any], why: str
) -> None:
    environments = {"vllm": environment} if environment else {}
    found = known_flags(VLLM, Site.model_validate({"environments": environments}))
    assert (found.definitions, found.exact) == (recorded("vllm"), False)
    assert found.why.startswith(why)


def test_the_python_that_submits_is_asked_without_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> str:
        raise AssertionError("no program is to be started")

    monkeypatch.setattr(asking, "tethered", never)
    known = recorded("transformers")
    assert known is not None
    installed = tmp_path / f"transformers-{known.version}.dist-info" / "METADATA"
    installed.parent.mkdir()
    installed.write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {known.version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = known_flags(ENGINES["transformers"], Site())
    assert (found.definitions, found.exact) == (known, True)
    assert not known_flags(VLLM, Site()).exact


@pytest.mark.long
def test_an_engine_without_a_record_may_be_asked_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "own_engine.py").write_text(PARSER.format(note=str(tmp_path / "n")))
    row = EngineKind(name="own", tensor_parallel=1, data_parallel=1, max_model_len=None, port=8000,
                     package="pydantic", flags_from=("own_engine:make_arg_parser",))  # fmt: skip
    site = {"environments": {"transformers": {"variables": {"PYTHONPATH": str(tmp_path)}}}}
    here = Site.model_validate(site)
    object.__setattr__(here, "environments", {"own": here.environments["transformers"]})
    found = known_flags(row, here)
    assert found.exact and found.definitions is not None
    assert found.definitions.names == ["only-in-this-version"]
    silent = EngineKind(name="silent", tensor_parallel=1, data_parallel=1, max_model_len=None,
                        port=8000, package="pydantic")  # fmt: skip
    found = known_flags(silent, Site())
    assert (found.definitions, found.exact) == (None, False)
