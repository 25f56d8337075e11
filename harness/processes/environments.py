"""Put a command into a role's environment: activate lines or a container."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.config.site import SECRET_NAME, Environment, Role, Site

_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")


def wrap(environment: Environment, argv: Sequence[str], mounts: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` inside an environment. Pure.

    `mounts` are folders that a container must see, beside the site's own. With neither activate
    lines nor a container the list comes back as it is.
    """
    inner = list(argv)
    if environment.activate and environment.runtime != "pyxis":
        inner = ["bash", "-c", "\n".join([*environment.activate, 'exec "$@"']), "bash", *inner]
    if not environment.container:
        return inner
    binds = [*(f"{m}:{m}" for m in dict.fromkeys(mounts)), *environment.mounts]
    names = list(environment.variables)
    if environment.runtime == "apptainer":
        flags = [flag for bind in binds for flag in ("--bind", bind)]
        return ["apptainer", "exec", "--nv", *flags, environment.container, *inner]
    if environment.runtime == "enroot":
        flags = [flag for bind in binds for flag in ("--mount", bind)]
        flags += [flag for name in names for flag in ("--env", name)]
        return ["enroot", "start", "--rw", *flags, environment.container, *inner]
    return ["srun", "--overlap", "--ntasks=1", *pyxis_flags(environment, mounts), *inner]


def pyxis_flags(environment: Environment, mounts: Sequence[str]) -> list[str]:
    """srun's options of the pyxis plugin."""
    binds = [*(f"{m}:{m}" for m in dict.fromkeys(mounts)), *environment.mounts]
    return [f"--container-image={environment.container}", f"--container-mounts={','.join(binds)}"]


def job_environment(variables: Mapping[str, str], site: Site) -> dict[str, str]:
    """The shell's variables that a job may inherit.

    Whatever looks like a secret (…_TOKEN, …_KEY, …_SECRET, …PASSWORD, …_CREDENTIALS) is left
    out unless the site lists it; so are the variables of an allocation that we submit from, but
    not those that tell Slurm's programs which cluster to ask.
    """
    return {
        name: value
        for name, value in variables.items()
        if (name in site.secrets or not SECRET_NAME.search(name))
        and (name in _CLUSTER or not name.startswith("SLURM_"))
    }


def role_wrapper(site: Site, role: Role, mounts: list[str]) -> Callable[[list[str]], list[str]]:
    """What puts a command into the environment of a role."""
    environment = site.environment(role)

    def wrapped(argv: list[str]) -> list[str]:
        variables = dict(environment.variables)
        if not environment.activate and not environment.container:
            # The submitting Python's own programs, whether or not its environment is activated.
            path = os.environ.get("PATH", os.defpath)
            variables.setdefault("PATH", f"{Path(sys.executable).parent}:{path}")
        prefix = [f"{name}={value}" for name, value in variables.items()]
        return [*(["env", *prefix] if prefix else []), *wrap(environment, argv, mounts)]

    return wrapped
