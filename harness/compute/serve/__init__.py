"""Inference servers inside a job: start, prove ready, watch, always stop."""

from harness.compute.serve.engines import command, environment
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import RunningServer, serve, watch

__all__ = ["RunningServer", "ServeRequest", "command", "environment", "serve", "watch"]
