"""From the spec's server to a request: its sizes, its context, its environment."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve.launch import server_request
from harness.compute.serve.request import ServeRequest
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.errors import ResultError, UserError
from tests.support import ROOT


def asked(
    folder: Path, spec: dict[str, Any], *, site: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None, **fields: Any,
) -> ServeRequest:  # fmt: skip
    model = folder / "it's the ü model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(config or {}))
    server = ServerSpec.model_validate(spec)
    fields = {"served_name": "m@abc", "log_path": folder / "server.log", **fields}
    mounts = [str(folder / "run")]
    return server_request(server, Site.model_validate(site or {}), model, mounts, **fields)


def test_all_that_the_spec_says_is_in_the_request(tmp_path: Path) -> None:
    spec = {
        "engine": "sglang", "tensor_parallel": 2, "data_parallel": 3, "max_model_len": 999,
        "dtype": "float16", "gpu_memory_utilization": 0.5, "reasoning_parser": "qwen3",
        "port": 4321, "ready_timeout_minutes": 1.5, "flags": {"seed": 0},
    }  # fmt: skip
    request = asked(tmp_path, spec, chat_template="/t.jinja", probe_body={"top_p": 1})
    assert (request.engine, request.dtype) == ("sglang", "float16")
    assert (request.tensor_parallel, request.data_parallel) == (2, 3)
    assert (request.max_model_len, request.gpu_memory_utilization) == (999, 0.5)
    assert (request.reasoning_parser, request.extra_flags) == ("qwen3", {"seed": 0})
    assert (request.preferred_port, request.ready_timeout_s) == (4321, 90)
    assert (request.chat_template, request.probe_body) == ("/t.jinja", {"top_p": 1})
    assert request.model == str(tmp_path / "it's the ü model")


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ({"engine": "vllm"}, (8, 1)),
        ({"engine": "sglang"}, (1, 4)),
        ({"engine": "vllm", "gpus": 0}, (1, 1)),
        ({"engine": "vllm", "tensor_parallel": 2}, (2, 1)),
    ],
)
def test_sizes_are_the_engines_where_the_spec_says_nothing(
    tmp_path: Path, spec: dict[str, Any], sizes: tuple[int, int]
) -> None:
    request = asked(tmp_path, spec)
    assert (request.tensor_parallel, request.data_parallel) == sizes


@pytest.mark.parametrize(
    ("engine", "config", "length"),
    [
        ("vllm", {"max_position_embeddings": 2048}, 2048),
        ("vllm", {"max_position_embeddings": 131072}, 32768),
        ("vllm", {}, 32768),  # the model does not say
        ("transformers", {"max_position_embeddings": 2048}, None),  # it has no such setting
    ],
)
def test_the_context_is_the_engines_or_the_models_where_that_is_less(
    tmp_path: Path, engine: str, config: dict[str, Any], length: int | None
) -> None:
    assert asked(tmp_path, {"engine": engine}, config=config).max_model_len == length


def test_a_container_sees_the_model_the_harness_and_what_else_it_needs(tmp_path: Path) -> None:
    container = {"container": "/images/vllm.sif", "runtime": "apptainer"}
    request = asked(tmp_path, {"engine": "vllm"}, site={"environments": {"vllm": container}})
    words = request.wrap(["vllm", "serve", "it's"])
    binds = [after for flag, after in pairwise(words) if flag == "--bind"]
    seen = [str(ROOT), request.model, str(tmp_path / "run")]
    assert binds == [f"{path}:{path}" for path in seen]
    assert words[-3:] == ["vllm", "serve", "it's"]


def test_the_environment_is_that_of_the_engine_and_of_no_other(tmp_path: Path) -> None:
    site = {"environments": {"sglang": {"activate": ["source sglang/bin/activate"]}}}
    assert "source sglang/bin/activate" in str(
        asked(tmp_path, {"engine": "sglang"}, site=site).wrap([])
    )
    assert "source" not in str(asked(tmp_path, {"engine": "vllm"}, site=site).wrap([]))


def test_what_is_no_model_or_no_setting_is_told_before_anything_starts(tmp_path: Path) -> None:
    server, site = ServerSpec(), Site()
    with pytest.raises(ResultError, match=r"none/config\.json: no such file"):
        server_request(
            server, site, tmp_path / "none", [], served_name="m", log_path=tmp_path / "l"
        )
    with pytest.raises(UserError, match="--port is set by the harness itself"):
        asked(tmp_path, {"flags": {"port": 1}})
