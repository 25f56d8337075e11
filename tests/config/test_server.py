"""Sizes of an inference server where something is set, and where the engine's own count."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.engines import ENGINES
from harness.config.load import load_spec
from harness.config.server import ServerSpec
from tests.config.test_load import GOOD, message, spec_file


def server(folder: Path, *settings: str) -> ServerSpec:
    spec = load_spec(spec_file(folder, GOOD), [f"evaluation.server.{s}" for s in settings])
    assert spec.evaluation is not None
    return spec.evaluation.server


@pytest.mark.parametrize("name", ENGINES)
def test_unset_sizes_are_the_engines_and_on_cpu_one(name: str) -> None:
    row = ENGINES[name]
    usual = ServerSpec(engine=name)
    assert usual.kind is row
    assert (usual.tensor_parallel_size, usual.data_parallel_size) == (
        row.tensor_parallel,
        row.data_parallel,
    )
    assert usual.gpu_count == row.tensor_parallel * row.data_parallel
    on_cpu = ServerSpec(engine=name, gpus=0)
    assert (on_cpu.tensor_parallel_size, on_cpu.data_parallel_size, on_cpu.gpu_count) == (1, 1, 0)


def test_what_is_set_goes_before_the_engines_own() -> None:
    both = ServerSpec(tensor_parallel=2, data_parallel=3)
    assert (both.tensor_parallel_size, both.data_parallel_size, both.gpu_count) == (2, 3, 6)
    assert ServerSpec(tensor_parallel=2).gpu_count == 2
    assert ServerSpec(engine="sglang", tensor_parallel=2).gpu_count == 8
    # Also on CPU: engines share a model among processes there.
    assert ServerSpec(gpus=0, tensor_parallel=2).tensor_parallel_size == 2


def test_gpus_asked_for_by_number_are_asked_for_as_they_are() -> None:
    asked = ServerSpec(gpus=4)
    assert asked.gpu_count == 4
    assert asked.tensor_parallel_size == 8  # `check` tells that these do not fit


def test_a_context_is_never_longer_than_the_models_unless_it_is_asked_for() -> None:
    usual = ServerSpec()
    assert usual.context(None) == usual.context(32769) == 32768
    assert usual.context(2048) == 2048
    # What is asked for is kept, so that a check can tell that the model has less.
    assert ServerSpec(max_model_len=40000).context(2048) == 40000
    assert ServerSpec(engine="transformers", max_model_len=64).context(None) == 64


def test_an_unknown_engine_shows_those_there_are(tmp_path: Path) -> None:
    told = message(tmp_path, GOOD, "evaluation.server.engine=vlm")
    assert told == (
        "--set evaluation.server.engine=vlm: evaluation.server.engine: "
        "'vllm', 'sglang' or 'transformers' is expected; did you mean 'vllm'? (got 'vlm')"
    )


@pytest.mark.parametrize(
    ("field", "least", "wrong"),
    [
        ("tensor_parallel", "1", "0"),
        ("data_parallel", "1", "0"),
        ("gpus", "0", "-1"),
        ("max_model_len", "16", "15"),
        ("gpu_memory_utilization", "1", "1.1"),
        ("gpu_memory_utilization", "0.1", "0"),
        ("port", "1024", "1023"),
        ("port", "65535", "65536"),
        ("ready_timeout_minutes", "0.1", "0"),
        ("restarts", "0", "-1"),
        ("dtype", "float32", "fp32"),
    ],
)
def test_the_bounds_of_each_size(tmp_path: Path, field: str, least: str, wrong: str) -> None:
    assert str(getattr(server(tmp_path, f"{field}={least}"), field)).startswith(least)
    told = message(tmp_path, GOOD, f"evaluation.server.{field}={wrong}")
    assert told.startswith(f"--set evaluation.server.{field}={wrong}: evaluation.server.{field}: ")
    assert wrong in told.rpartition("(got ")[2]


def test_flags_keep_their_kind(tmp_path: Path) -> None:
    flags = server(tmp_path, "flags={a: true, b: false, c: 1, d: 0.5, e: 'it''s x'}").flags
    assert flags == {"a": True, "b": False, "c": 1, "d": 0.5, "e": "it's x"}
    assert flags["a"] is True and flags["c"] is not True
    told = message(tmp_path, GOOD, "evaluation.server.flags={a: [1]}")
    assert "evaluation.server.flags" in told


def test_the_engines_defaults() -> None:
    vllm, sglang = ServerSpec(), ServerSpec(engine="sglang")
    assert (vllm.tensor_parallel_size, vllm.data_parallel_size, vllm.gpu_count) == (8, 1, 8)
    assert (sglang.tensor_parallel_size, sglang.data_parallel_size, sglang.gpu_count) == (1, 4, 4)
    assert ServerSpec(engine="transformers").gpu_count == 1
    assert vllm.context(None) == vllm.context(131072) == 32768
    assert vllm.context(8192) == 8192
    assert ServerSpec(max_model_len=4096).context(8192) == 4096
    assert ServerSpec(engine="transformers").context(8192) is None
    on_cpu = ServerSpec(gpus=0)
    assert (on_cpu.tensor_parallel_size, on_cpu.gpu_count) == (1, 0)
