"""From the spec's server to a request: the part that evaluation tasks and `serve` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.compute.serve.request import ServeRequest
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.package import ROOT
from harness.processes.environments import role_wrapper
from harness.runs.models.folder import model_limit


def server_request(
    server: ServerSpec, site: Site, model: Path, mounts: list[str], **fields: Any
) -> ServeRequest:
    """A request for `model` as `server` says; `fields` are the request's others.

    `mounts` are further folders that a container must see.
    """
    return ServeRequest(
        engine=server.engine,
        model=str(model),
        tensor_parallel=server.tensor_parallel_size,
        data_parallel=server.data_parallel_size,
        max_model_len=server.context(model_limit(model)),
        dtype=server.dtype,
        gpu_memory_utilization=server.gpu_memory_utilization,
        reasoning_parser=server.reasoning_parser,
        extra_flags=server.flags,
        preferred_port=server.port,
        ready_timeout_s=server.ready_timeout_minutes * 60,
        wrap=role_wrapper(site, server.engine, [str(ROOT), str(model), *mounts]),
        **fields,
    )
