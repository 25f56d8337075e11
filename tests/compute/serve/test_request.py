"""What may be asked of a server, and how flags become words of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve.request import ServeRequest, extra, given
from harness.config.engines import ENGINES
from harness.errors import UserError

NASTY = '/scratch/it\'s $HOME "x" ü/checkpoint-5'


def request(engine: Any, **changes: Any) -> ServeRequest:
    values = {"model": NASTY, "served_name": "run/checkpoint-5@ab", "log_path": Path("/l/s.log")}
    return ServeRequest(engine=engine, **{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"extra_flags": {"api_key": "x"}},
        {"extra_flags": {"port": 1}},
        {"extra_flags": {"--seed": 1}},
        {"extra_flags": {"seed=1 --api-key": "x"}},
        {"gpu_memory_utilization": 1.5},
        {"tensor_parallel": 0},
        {"model": ""},
    ],
)
def test_a_request_that_no_engine_can_take_is_a_user_error(change: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        request("vllm", **change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": ""}, "a server needs a model folder and a name to serve it under"),
        ({"served_name": ""}, "a server needs a model folder and a name to serve it under"),
        ({"tensor_parallel": 0}, "tensor_parallel and data_parallel are at least 1"),
        ({"data_parallel": -1}, "tensor_parallel and data_parallel are at least 1"),
        (
            {"gpu_memory_utilization": 0},
            "gpu_memory_utilization is a fraction between 0 and 1, not 0",
        ),
        (
            {"extra_flags": {"--seed": 1}},
            "extra_flags: '--seed': a flag is named without its dashes: seed",
        ),
        (
            {"extra_flags": {"seed\n": 1}},
            "extra_flags: 'seed\\n': a flag's long name is expected, e.g. max-num-seqs",
        ),
        ({"extra_flags": {"API_KEY": "x"}}, "extra_flags: --API_KEY is set by the harness itself"),
        (
            {"extra_flags": {"served-model_name": 1}},
            "extra_flags: --served-model_name is set by the harness itself",
        ),
        ({"extra_flags": {"config": "f"}}, "extra_flags: --config is set by the harness itself"),
    ],
)
def test_each_wrong_value_has_its_own_message(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        request("vllm", **change)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "change",
    [
        {"gpu_memory_utilization": 1},
        {"gpu_memory_utilization": None},
        {"extra_flags": {"enable_prefix-caching2": None}},
        {"served_name": "it's a\nname"},
    ],
)
def test_what_an_engine_may_take_is_let_through(change: dict[str, Any]) -> None:
    request("vllm", **change)


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(request("vllm", api_key="secret"))


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),  # whether it takes IPv4, too, is up to the engine
        ("0:0:0:0:0:0:0:0", "::1"),
        ("localhost", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_server_that_listens_everywhere_is_reached_by_loopback(host: str, reached: str) -> None:
    assert request("vllm", host=host).client_host == reached


def test_flags_without_a_value_are_left_out_and_zero_is_one() -> None:
    assert given({"a": 0, "b": None, "c-d": NASTY, "e": 0.5, "f": ""}) == [
        *("--a", "0", "--c-d", NASTY, "--e", "0.5", "--f", ""),
    ]


def test_the_users_own_flags_keep_their_values_together() -> None:
    flags = {"a_b": "-1 --x", "on": True, "off": False, "none": None, "zero": 0, "half": 0.5}
    words = ["--a-b=-1 --x", "--on", "--no-off", "--zero=0", "--half=0.5"]
    assert extra(flags, ENGINES["vllm"]) == words  # none of them is known
    assert extra(flags, ENGINES["sglang"]) == [word for word in words if word != "--no-off"]


def test_a_false_switch_is_said_as_its_engine_says_it() -> None:
    """By the flags that are recorded: `--no-…` where there is one, else left out, for it is off."""
    asked = {"enforce_eager": False, "headless": False, "enable-prefix-caching": True}
    assert extra(asked, ENGINES["vllm"]) == ["--no-enforce-eager", "--enable-prefix-caching"]
    asked = {"skip_server_warmup": False, "dllm-fdfo": False}
    assert extra(asked, ENGINES["sglang"]) == ["--no-dllm-fdfo"]
    assert extra({"enable_cors": False}, ENGINES["transformers"]) == ["--no-enable-cors"]


def test_several_values_are_words_and_keys_of_a_configuration_stay_as_they_are() -> None:
    asked = {"cudagraph_capture_sizes": "1 2 4", "ignore-patterns": "a/*", "max-num-seqs": 4}
    words = [
        "--cudagraph-capture-sizes",
        "1",
        "2",
        "4",
        "--ignore-patterns=a/*",
        "--max-num-seqs=4",
    ]
    assert extra(asked, ENGINES["vllm"]) == words
    asked = {"compilation_config.pass_config.fuse_norm": True, "compilation-config.mode": 3}
    words = ["--compilation-config.pass_config.fuse_norm=true", "--compilation-config.mode=3"]
    assert extra(asked, ENGINES["vllm"]) == words
