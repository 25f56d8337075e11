"""A model evaluated as it is: what `eval` may be told, and what a run that trains alone may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.evaluate import EvalSpec, ExternalServer
from harness.config.load import build_eval, load_run_spec
from harness.errors import UserError


def data(**changes: Any) -> dict[str, Any]:
    return {"name": "run", "model": "/m/checkpoints/checkpoint-5",
            "evaluation": {"benchmarks": ["gsm8k"]}, **changes}  # fmt: skip


def refused(given: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        build_eval(given, overrides)
    return str(caught.value)


def test_a_model_and_a_benchmark_are_enough() -> None:
    spec = build_eval(data(), [])
    assert (spec.checkpoint, spec.chat_template, spec.external) == ("base", None, None)
    assert spec.base_model == spec.model
    assert spec.checkpoints == Path("/m/checkpoints")


def test_its_template_is_its_own_unless_one_is_given_and_how_it_was_trained_is_unknown() -> None:
    assert build_eval(data(), []).base_template is None
    spec = build_eval(data(chat_template="/t/it's ü.jinja"), [])
    assert spec.base_template == "/t/it's ü.jinja"
    assert spec.trained_template is None


@pytest.mark.parametrize("override", ["checkpoints=last", "checkpoints=[5]", "base_model=true"])
def test_what_chooses_among_checkpoints_is_for_runs_that_train(override: str) -> None:
    told = refused(data(), f"evaluation.{override}")
    where = f"--set {override}: evaluation.{override.partition('=')[0]}: "
    assert told == f"{where}checkpoints and base_model are for runs that train"
    assert build_eval(data(), ["evaluation.checkpoints=all", "evaluation.base_model=false"])


def test_a_mistake_is_named_by_its_own_words_on_the_command_line() -> None:
    told = refused(data(), "evaluation.max_item=3")
    assert told.startswith("--set max_item=3: evaluation.max_item: unknown key; ")
    assert "did you mean 'max_items'" in told
    assert refused(data(name="a b")).startswith("command line: name: letters, digits")
    assert refused(data(train={})).startswith("command line: train: unknown key")


@pytest.mark.parametrize("missing", ["name", "model", "evaluation"])
def test_what_is_missing_is_named(missing: str) -> None:
    given = data()
    del given[missing]
    assert refused(given) == f"command line: {missing}: required, but not given"


def test_a_server_of_somebody_elses_needs_an_address_and_a_name() -> None:
    external = {"address": "http://h:8000/v1", "model": "theirs"}
    spec = build_eval(data(external=external), [])
    assert spec.external == ExternalServer(address="http://h:8000/v1", model="theirs")
    assert spec.external.api_key_env is None
    assert "external.model: required" in refused(data(external={"address": "http://h/v1"}))
    # The key itself has no place in a spec, which lies in the run folder for all to read.
    assert "external.api_key: unknown key" in refused(data(external={**external, "api_key": "k"}))


def test_the_spec_of_a_run_folder_reads_back_as_the_same(tmp_path: Path) -> None:
    spec = build_eval(
        data(model='/m/it\'s "x"\nü', checkpoint="checkpoint-5"), ["evaluation.max_items=3"]
    )
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    again = load_run_spec(file)
    assert isinstance(again, EvalSpec)
    assert again == spec
