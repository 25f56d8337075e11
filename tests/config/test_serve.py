"""A server for itself: what it is asked for on the command line, and its run folder's spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.load import build_serve, load_run_spec
from harness.config.serve import ServeSpec
from harness.config.server import ServerSpec
from harness.errors import UserError

GIVEN: dict[str, Any] = {"name": "run", "model": "/m", "served_name": "m"}


def refused(given: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        build_serve(given, overrides)
    return str(caught.value)


def test_unset_is_the_usual_server_without_key_host_or_adapters() -> None:
    spec = build_serve(dict(GIVEN), [])
    assert spec.server == ServerSpec()
    assert (spec.key_file, spec.host, spec.chat_template, spec.time_limit) == (None,) * 4
    assert spec.lora_adapters == {}


@pytest.mark.parametrize("missing", sorted(GIVEN))
def test_what_is_missing_is_named(missing: str) -> None:
    given = {name: value for name, value in GIVEN.items() if name != missing}
    assert refused(given) == f"command line: {missing}: required, but not given"


def test_a_flag_of_the_server_is_named_by_its_own_words() -> None:
    told = refused(dict(GIVEN), "server.engin=vllm")
    assert told.startswith("--set engin=vllm: server.engin: unknown key; did you mean 'engine'")
    told = refused(dict(GIVEN), "server.port=80")
    assert told == ("--set port=80: server.port: a number of at least 1024 is expected (got 80)")


def test_the_key_is_in_a_file_and_never_in_the_spec() -> None:
    assert "key: unknown key" in refused({**GIVEN, "key": "secret"})


@pytest.mark.parametrize("limit", ["forever", "1h", -5])
def test_a_time_that_slurm_would_not_take_is_refused(limit: object) -> None:
    told = refused({**GIVEN, "time_limit": limit})
    assert told.startswith("command line: time_limit: a Slurm time is expected")


def test_the_spec_of_a_run_folder_reads_back_as_the_same(tmp_path: Path) -> None:
    hostile = 'it\'s "x"\nü 🙂'
    spec = build_serve(
        {**GIVEN, "model": f"/{hostile}", "lora_adapters": {hostile: "/a"}, "time_limit": "2-12"},
        ["server.port=9000", "server.flags={x: true}"],
    )
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    again = load_run_spec(file)
    assert isinstance(again, ServeSpec)
    assert again == spec
