"""Put a command into a role's environment: activate lines or a container."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.config.site import SECRET_NAME, Environment, Role, Site
from harness.package import SHIPPED

_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
"""Which cluster Slurm's programs ask, and as whom."""
_SLURMS_OWN = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")
"""Whatever begins so is an option of one of Slurm's programs, or tells of an allocation ("INPUT
ENVIRONMENT VARIABLES" of sbatch(1), srun(1), squeue(1), …): SBATCH_EXPORT=NONE keeps a script's
variables from its tasks, SQUEUE_USERS hides jobs, SLURM_EXIT_ERROR=0 hides errors."""


GUARD = Path("templates") / "sbatch" / "activation.sh"
"""In the project: what guards activation lines, and says what it does."""
_TRAPS = r"""activation_depth=${#BASH_SOURCE[@]}
trap 'activation_next $?' DEBUG
trap 'activation_failed $? "$BASH_COMMAND" $LINENO ${#BASH_SOURCE[@]}' ERR
trap 'activation_end $? "the shell ended in ${BASH_SOURCE[0]:-bash} (set -e?): $BASH_COMMAND"' EXIT"""


def activation(lines: Sequence[str], guard: str) -> str:
    """Activation lines in bash, guarded by `guard`: text that is, or sources, the file GUARD. Pure."""
    return "\n".join([guard, _TRAPS, *lines, "trap - DEBUG ERR", "activation_done"])


def wrap(environment: Environment, argv: Sequence[str], mounts: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` inside an environment.

    `mounts` are folders that a container must see, beside the site's own. With neither activate
    lines nor a container the list comes back as it is.
    """
    inner = list(argv)
    if environment.activate and environment.runtime != "pyxis":
        guard = (SHIPPED / GUARD).read_text(encoding="utf-8")
        activated = activation(environment.activate, guard) + '\nexec "$@"'
        inner = ["bash", "-c", activated, "bash", *inner]
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
    out unless the site lists it; so is what `slurm_environment` leaves out.
    """
    return {
        name: value
        for name, value in slurm_environment(variables).items()
        if name in site.secrets or not SECRET_NAME.search(name)
    }


def slurm_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The shell's variables without those that change what Slurm's programs do for us.

    What tells them which cluster to ask stays; SBATCH_CLUSTERS, which only sbatch knows, holds for
    all of them.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if name in _CLUSTER or not name.startswith(_SLURMS_OWN)
    }
    if clusters := variables.get("SBATCH_CLUSTERS"):
        kept["SLURM_CLUSTERS"] = clusters
    return kept


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
