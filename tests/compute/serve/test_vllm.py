"""vLLM's command and environment: what is asked for reaches it, and room for every adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve import ServeRequest, command, environment
from harness.compute.serve.ports import Ports
from harness.compute.serve.vllm import ENGINE, MAX_LORA_RANKS, adapter_rank
from harness.errors import ResultError, UserError

PORTS = Ports(http=12738, torch=20001, internal=20002)
NASTY = '/scratch/it\'s $HOME "x" ü/checkpoint-5'


def request(engine: Any, **changes: Any) -> ServeRequest:
    values = {"model": NASTY, "served_name": "run/checkpoint-5@ab", "log_path": Path("/l/s.log")}
    return ServeRequest(engine=engine, **{**values, **changes})


def test_vllm_is_told_everything_asked_for() -> None:
    asked = request(
        "vllm",
        tensor_parallel=2,
        data_parallel=4,
        max_model_len=4096,
        gpu_memory_utilization=0.85,
        chat_template="/t/qwen3.jinja",
        reasoning_parser="qwen3",
        extra_flags={"enforce_eager": True, "enable-prefix-caching": False, "seed": 1, "x": None},
    )
    assert command(asked, PORTS) == [
        *("vllm", "serve", NASTY, "--served-model-name", "run/checkpoint-5@ab"),
        *("--host", "127.0.0.1", "--port", "12738", "--dtype", "bfloat16"),
        *("--tensor-parallel-size", "2", "--data-parallel-size", "4"),
        *("--max-model-len", "4096", "--gpu-memory-utilization", "0.85"),
        *("--chat-template", "/t/qwen3.jinja", "--reasoning-parser", "qwen3"),
        *("--enforce-eager", "--no-enable-prefix-caching", "--seed=1"),
    ]


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a LoRA adapter"):
        command(request("vllm", lora_adapters={"a": str(tmp_path)}), PORTS)


def test_what_is_left_to_the_engine_is_not_named() -> None:
    assert command(request("vllm"), PORTS) == [
        *("vllm", "serve", NASTY, "--served-model-name", "run/checkpoint-5@ab"),
        *("--host", "127.0.0.1", "--port", "12738", "--dtype", "bfloat16"),
    ]


def adapter(folder: Path, config: Any) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("ranks", "room"), [((1,), 1), ((2,), 8), ((8, 16), 16), ((17,), 32), ((512, 1), 512)]
)
def test_room_is_made_for_the_largest_adapter_in_the_engines_own_steps(
    tmp_path: Path, ranks: tuple[int, ...], room: int
) -> None:
    adapters = {f"a{r}": adapter(tmp_path / f"it's ü, {r}", {"r": r}) for r in ranks}
    argv = command(request("vllm", lora_adapters=adapters, extra_flags={"seed": 1}), PORTS)
    at = argv.index("--enable-lora")
    assert argv[at : at + 4] == ["--enable-lora", "--max-lora-rank", str(room), "--lora-modules"]
    modules = [json.loads(word) for word in argv[at + 4 : -1]]
    assert modules == [{"name": name, "path": path} for name, path in adapters.items()]
    assert argv[-1] == "--seed=1"  # what follows is no adapter


def test_an_adapter_beyond_the_engines_largest_rank_is_refused(tmp_path: Path) -> None:
    adapters = {"a": adapter(tmp_path / "a", {"r": 513})}
    with pytest.raises(UserError, match="vLLM takes LoRA ranks up to 512, not 513"):
        command(request("vllm", lora_adapters=adapters), PORTS)
    assert list(MAX_LORA_RANKS) == sorted(MAX_LORA_RANKS)


@pytest.mark.parametrize("config", [{}, {"r": None}, {"r": "8"}])
def test_a_configuration_without_a_rank_is_told_by_its_folder(tmp_path: Path, config: Any) -> None:
    folder = adapter(tmp_path / "a", config)
    with pytest.raises(UserError) as caught:
        adapter_rank(Path(folder))
    assert str(caught.value) == (
        f"{folder}: not a LoRA adapter (adapter_config.json with `r` is expected)"
    )
    (tmp_path / "a" / "adapter_config.json").write_text("{torn")
    with pytest.raises(ResultError, match=r"adapter_config\.json: cannot be read as JSON"):
        adapter_rank(Path(folder))


def test_the_key_the_port_and_no_telemetry_go_by_environment() -> None:
    found = environment(request("vllm"), PORTS, "it's a $KEY")
    assert found["VLLM_API_KEY"] == "it's a $KEY"
    assert found["VLLM_PORT"] == "20002"
    assert (found["VLLM_NO_USAGE_STATS"], found["DO_NOT_TRACK"]) == ("1", "1")


def test_clients_ask_by_the_name_that_it_is_served_under() -> None:
    assert ENGINE.model_name(request("vllm")) == "run/checkpoint-5@ab"
