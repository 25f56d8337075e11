"""`serve`: what its options ask for; a mistake is one message, and nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import UserError
from harness.preflight.cluster import machine
from harness.verbs.serve import _choose_engine, _pairs, _spec
from tests.preflight.support import MARKED, model
from tests.verbs.test_common import command

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_gpu", lambda: False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a site file and a model of the name `a model`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_SITE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"scheduler": "local", "runs_dir": "runs"}))
    folder = model(tmp_path / "a model")
    (folder / "chat_template.jinja").write_text(MARKED)
    return tmp_path


def test_pairs_are_read_as_yaml_where_they_are_flags_and_as_text_where_they_are_paths() -> None:
    words = ["a=1", "b=x=y", "c", "d=true", "e=", "f='1'"]
    assert _pairs(words, "--flag", bare=True) == {
        "a": 1, "b": "x=y", "c": True, "d": True, "e": None, "f": "1",
    }  # fmt: skip
    assert _pairs(["a=1", "b=/it's/é"], "--lora") == {"a": "1", "b": "/it's/é"}
    assert _pairs([], "--lora") == {}


@pytest.mark.parametrize(
    ("words", "bare", "message"),
    [
        (["a"], False, "--lora a: NAME=VALUE is expected"),
        (["=x"], False, "--lora =x: NAME=VALUE is expected"),
        ([""], True, "--lora : NAME=VALUE is expected"),
        (["a=1", "a=2"], False, "--lora a: given twice"),
        (["a=[1"], True, "--lora a=[1: not valid YAML"),
    ],
)
def test_a_pair_that_is_none_is_named(words: list[str], bare: bool, message: str) -> None:
    with pytest.raises(UserError) as caught:
        _pairs(words, "--lora", bare=bare)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "scheduler", "gpu", "chosen"),
    [
        ({}, "local", False, {"engine": "transformers", "gpus": 0}),
        ({}, "local", True, {}),
        ({}, "slurm", False, {}),
        ({"engine": "vllm"}, "local", False, {"engine": "vllm"}),
        ({"engine": "transformers"}, "local", False, {"engine": "transformers", "gpus": 0}),
        (
            {"engine": "transformers", "gpus": 1},
            "local",
            False,
            {"engine": "transformers", "gpus": 1},
        ),
        ({"engine": "transformers"}, "slurm", False, {"engine": "transformers"}),
        ({"engine": "transformers"}, "local", True, {"engine": "transformers"}),
    ],
)
def test_the_cpu_is_taken_only_where_nobody_chose_and_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: Out, given: dict[str, Any], scheduler: str, gpu: bool,
    chosen: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(machine, "has_gpu", lambda: gpu)
    server = dict(given)
    _choose_engine(server, scheduler)
    assert server == chosen
    assert ("no GPU here" in capsys.readouterr().err) == ("engine" in chosen and not given)


@pytest.mark.parametrize(
    ("folder", "name", "run"),
    [("a model", "a model", "serve-a-model"), ("é/", "é", "serve-model"),
     ("sub/checkpoint-5", "checkpoint-5", "serve-checkpoint-5"),
     ("x" * 100, "x" * 100, f"serve-{'x' * 74}")],
)  # fmt: skip
def test_a_run_is_named_by_its_model_in_letters_that_every_file_system_takes(
    here: Path, folder: str, name: str, run: str
) -> None:
    (here / folder).mkdir(parents=True, exist_ok=True)
    spec = _spec(folder, {}, {"chat_template": None}, {}, [])
    assert (spec.served_name, spec.name) == (name, run)
    assert spec.model == str(here / folder.rstrip("/"))


def test_a_model_in_the_cache_keeps_its_own_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    snapshot = here / "hub" / "models--Qwen--Q3" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    spec = _spec("Qwen/Q3", {}, {"chat_template": None}, {}, ["reasoning_parser=qwen3"])
    assert (spec.served_name, spec.model) == ("Q3", str(snapshot))
    assert spec.server.reasoning_parser == "qwen3"


def plan_of(capsys: Out, *argv: str) -> tuple[int, dict[str, Any]]:
    code = command("serve", *argv, "--dry-run", "--json")
    return code, json.loads(capsys.readouterr().out)


def test_a_dry_run_shows_the_job_and_writes_nothing(here: Path, capsys: Out) -> None:
    code, shown = plan_of(capsys, "a model", "--time", "2:00:00", "--host", "127.0.0.1")
    assert code == 0
    (job,) = shown["plan"]["jobs"]
    assert (job["name"], job["gpus_per_node"]) == ("serve", 0)
    assert job["options"]["time_limit"] == "2:00:00"
    assert sorted(p.name for p in here.iterdir()) == ["a model", "site.yaml"]


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        (["--host", "0.0.0.0"], "--host"),
        (["--chat-template", "absent.jinja"], "--chat-template"),
        (["--lora", "a=absent"], "--lora a"),
        (["--engine", "vllm", "--gpus", "1"], "server.tensor_parallel"),
    ],
)
def test_a_mistake_is_told_by_its_option_and_nothing_is_started(
    here: Path, capsys: Out, argv: list[str], place: str
) -> None:
    code, shown = plan_of(capsys, "a model", *argv)
    assert code == 2
    assert place in [f["place"] for f in shown["findings"] if f["level"] == "error"]
    assert command("serve", "a model", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and f"error: {place}: " in err and "nothing was submitted" in err
    assert not (here / "runs").exists() and not (here / "state").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["absent"], "MODEL: absent: no such folder"),
        (
            ["a model", "--engine", "vlm"],
            "--engine: server.engine: 'vllm', 'sglang' or 'transformers' is expected",
        ),
        (["a model", "--set", "ports=1"], "server.ports: unknown key; did you mean 'port'"),
        (["a model", "--time", "soon"], "--time: time_limit: a Slurm time is expected"),
        (
            ["a model", "--port", "80"],
            "'--port': a whole number of at least 1024 is expected (got '80')",
        ),
        (
            ["a model", "--gpus", "-1"],
            "'--gpus': a whole number of at least 0 is expected (got '-1')",
        ),
        (["a model", "--port", "70000"], "--port: server.port: a number of at most 65535"),
        (["a model", "--gpus", "\u0664"], "'--gpus': a whole number"),
        (["a model", "--flag", "a=1e999"], "--flag a=1e999: the number is too large"),
        (["a model", "--set", "port=true"], "--set port=true: server.port: a whole number"),
        (["a model", "--local", "--set-site", "scheduler=slurm"], "this runs here, without Slurm"),
        (["x" * 5000], "no file system takes so long a name"),
    ],
)
def test_a_word_that_is_wrong_is_one_message(
    here: Path, capsys: Out, argv: list[str], words: str
) -> None:
    assert command("serve", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and "Traceback" not in err
