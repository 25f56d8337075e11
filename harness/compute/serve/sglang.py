"""SGLang's `python -m sglang.launch_server`. Every flag here is checked against the real wheel's
(0.5.23).

SGLang takes its key only as an argument or in a YAML file named by --config. The process list is
open to everyone, and a file would lie where others or a backup may read it. So the same module is
started by a line of Python that takes the key from the environment and puts it into the arguments
inside the process. SGLang also logs all its settings, key included: supervisor.py blanks the key.

It answers a request for any model, whatever its name, with the model that it has; a LoRA adapter
answers only where `BASE:adapter` is asked for, though /v1/models lists its bare name. A colon in
the served name is refused (arg_groups/validation_hook.py).
"""

from __future__ import annotations

import json

from harness.compute.serve.ports import Ports
from harness.compute.serve.request import Engine, ServeRequest, extra, given
from harness.config.engines import ENGINES

KEY_VARIABLE = "HARNESS_SGLANG_KEY"
LAUNCH = (
    "import os, runpy, sys; "
    f"sys.argv += ['--api-key', os.environ.pop('{KEY_VARIABLE}')]; "
    "runpy.run_module('sglang.launch_server', run_name='__main__', alter_sys=True)"
)


def command(request: ServeRequest, ports: Ports) -> list[str]:
    """The argument list; the key is not in it."""
    several = {
        "tp-size": request.tensor_parallel if request.tensor_parallel > 1 else None,
        "dp-size": request.data_parallel if request.data_parallel > 1 else None,
        # With replicas, each would take this very port and the second would fail
        # (data_parallel_controller.launch_dp_schedulers): SGLang then looks for its own,
        # below the ephemeral range, and holds them while it looks.
        "nccl-port": ports.torch if request.data_parallel == 1 else None,
    }
    optional = {
        "context-length": request.max_model_len,
        "mem-fraction-static": request.gpu_memory_utilization,
        "chat-template": request.chat_template,
        "reasoning-parser": request.reasoning_parser,
    }
    # argparse_actions.LoRAPathAction takes JSON, in which a path may hold anything.
    adapters = [json.dumps({"lora_name": name, "lora_path": folder})
                for name, folder in request.lora_adapters.items()]  # fmt: skip
    return [
        *("python", "-c", LAUNCH),
        *("--model-path", request.model, "--served-model-name", served_name(request)),
        *("--host", request.host, "--port", str(ports.http)),
        *("--dtype", request.dtype),
        *given(several),
        *given(optional),
        *(("--enable-lora", "--lora-paths", *adapters) if adapters else ()),
        *extra(request.extra_flags, ENGINES["sglang"]),
    ]


def served_name(request: ServeRequest) -> str:
    """The name of the model, without what parts it from an adapter's."""
    return request.served_name.replace(":", "-")


def adapter_name(request: ServeRequest, name: str) -> str:
    """By which an adapter answers (entrypoints/openai/serving_base.py, _parse_model_parameter)."""
    return f"{served_name(request)}:{name}"


def environment(request: ServeRequest, ports: Ports, api_key: str) -> dict[str, str]:
    """Key and first internal port."""
    return {KEY_VARIABLE: api_key, "SGLANG_PORT": str(ports.internal)}


ENGINE = Engine(
    command=command,
    environment=environment,
    model_name=served_name,
    adapter_name=adapter_name,
)
