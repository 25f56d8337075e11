"""A server that is started for itself, not for an evaluation: `python -m harness serve`."""

from __future__ import annotations

from harness.config.base import Frozen, Location, TimeLimit, Word
from harness.config.server import ServerSpec
from harness.config.spec import RunName


class ServeSpec(Frozen):
    """What `serve` starts; spec.yaml of its run folder."""

    name: RunName
    """Name of the run."""
    model: Location
    """The model's folder, absolute."""
    served_name: Word
    """Name by which clients ask for the model."""
    server: ServerSpec = ServerSpec()
    chat_template: Location | None = None
    """A jinja file in place of the model's own template, absolute."""
    lora_adapters: dict[str, Location] = {}
    """LoRA adapters served beside the model: name -> folder (absolute)."""
    key_file: Location | None = None
    """File of mode 600, outside the run folder, that holds the server's key; every node must see
    it. None: the engine has no key."""
    host: Word | None = None
    """Address to listen on. Unset: loopback when the job runs on the submitting host, else the
    address by which the compute node reaches that host."""
    time_limit: TimeLimit | None = None
    """Slurm time; overrides the site's."""
