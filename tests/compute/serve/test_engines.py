"""What each engine is started with: arguments and environment, built purely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compute.serve import ServeRequest, command, environment
from harness.compute.serve.ports import Ports
from harness.compute.serve.sglang import LAUNCH
from harness.config.engines import ENGINES
from harness.errors import UserError

PORTS = Ports(http=12738, torch=20001, internal=20002)
NASTY = '/scratch/it\'s $HOME "x" ü/checkpoint-5'


def request(engine: Any, **changes: Any) -> ServeRequest:
    values = {"model": NASTY, "served_name": "run/checkpoint-5@ab", "log_path": Path("/l/s.log")}
    return ServeRequest(engine=engine, **{**values, **changes})


def test_sglang_is_told_everything_asked_for() -> None:
    asked = request("sglang", tensor_parallel=2, max_model_len=4096, gpu_memory_utilization=0.8)
    assert command(asked, PORTS) == [
        *("python", "-c", LAUNCH),
        *("--model-path", NASTY, "--served-model-name", "run/checkpoint-5@ab"),
        *("--host", "127.0.0.1", "--port", "12738", "--dtype", "bfloat16"),
        *("--tp-size", "2", "--nccl-port", "20001"),
        *("--context-length", "4096", "--mem-fraction-static", "0.8"),
    ]


def test_sglang_replicas_choose_their_own_nccl_ports() -> None:
    argv = command(request("sglang", data_parallel=2), PORTS)
    assert "--dp-size" in argv
    assert "--nccl-port" not in argv


def adapter(folder: Path, rank: int) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "peft_type": "LORA"}))
    return str(folder)


def test_lora_adapters_go_to_the_engines_as_they_read_them(tmp_path: Path) -> None:
    adapters = {"a": adapter(tmp_path / "one, two=3", 8), "b": adapter(tmp_path / "b", 24)}
    argv = command(request("vllm", lora_adapters=adapters), PORTS)
    assert argv[argv.index("--max-lora-rank") + 1] == "32"
    modules = argv[argv.index("--lora-modules") + 1 :]
    assert [json.loads(m) for m in modules[:2]] == [
        {"name": name, "path": path} for name, path in adapters.items()
    ]
    argv = command(request("sglang", lora_adapters=adapters), PORTS)
    assert "--enable-lora" in argv
    assert [json.loads(m) for m in argv[argv.index("--lora-paths") + 1 :]] == [
        {"lora_name": name, "lora_path": path} for name, path in adapters.items()
    ]


def test_an_sglang_switch_that_is_false_is_left_out() -> None:
    argv = command(request("sglang", extra_flags={"skip_server_warmup": False}), PORTS)
    assert not [word for word in argv if "warmup" in word]


def test_transformers_serve_is_pinned_to_the_folder(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }} ü\n")
    argv = command(request("transformers", chat_template=str(template), dtype="float32"), PORTS)
    assert argv[:9] == [
        *("transformers", "serve", NASTY, "--host", "127.0.0.1", "--port", "12738"),
        *("--dtype", "float32"),
    ]
    assert json.loads(argv[argv.index("--chat-template-kwargs") + 1]) == {
        "chat_template": "{{ messages }} ü\n"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"max_model_len": 4096},
        {"tensor_parallel": 2},
        {"reasoning_parser": "qwen3"},
        {"lora_adapters": {"a": "/a"}},
        {"gpu_memory_utilization": 0.9},
        {"host": "0.0.0.0"},
        {"model": "/runs/a@b/checkpoint-5"},
        {"extra_flags": {"device": "cpu", "continuous_batching": True}},
    ],
)
def test_transformers_serve_refuses_what_it_cannot_do(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="engine transformers"):
        command(request("transformers", **change), PORTS)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_key_travels_in_no_argument(engine: str) -> None:
    asked = request(engine)
    assert "secret" not in " ".join(command(asked, PORTS))
    travels = "secret" in environment(asked, PORTS, "secret").values()
    assert travels == (engine != "transformers")


def test_internal_ports_come_from_the_block() -> None:
    assert environment(request("vllm"), PORTS, "k")["VLLM_PORT"] == "20002"
    assert environment(request("sglang"), PORTS, "k")["SGLANG_PORT"] == "20002"
    assert environment(request("vllm"), PORTS, "k")["MASTER_PORT"] == "20001"


def test_the_customary_ports() -> None:
    assert ENGINES["vllm"].port == 12738
    assert ENGINES["sglang"].port == 8000
