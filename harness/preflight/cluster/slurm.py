"""Would Slurm take the scripts: asked with `sbatch --test-only`, which submits nothing."""

from __future__ import annotations

import os

from harness.config.site import JobKind
from harness.errors import CommandError
from harness.preflight.findings import Finding, error
from harness.processes.environments import job_environment
from harness.processes.shell import call
from harness.scheduling.schedulers.scheduler import shell_defaults
from harness.scheduling.stage import Staged


def check_slurm(staged: Staged) -> list[Finding]:
    """One job of each kind, as rendered; no findings for the local scheduler."""
    if staged.scheduler != "slurm":
        return []
    kinds = {job.kind: job for job in staged.plan.jobs}
    environment = job_environment(os.environ, staged.site)
    refused: dict[JobKind, str] = {}
    for kind, job in kinds.items():
        command = ["sbatch", "--test-only", *shell_defaults(job, os.environ)]
        try:
            call(command, stdin=staged.scripts[job.name], env=environment)
        except CommandError as problem:
            lines = [line.strip() for line in problem.stderr.splitlines() if line.strip()]
            words = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines]
            refused[kind] = "; ".join(words) or str(problem)
    if len(refused) == len(kinds) > 1 and len(set(refused.values())) == 1:
        reason = next(iter(refused.values()))
        cure = "See `slurm` in the site file; without a cluster, --set-site scheduler=local"
        return [error("site: slurm", f"Slurm would take none of the jobs: {reason}", cure)]
    return [
        error(
            f"site: jobs.{kind}",
            f"Slurm would refuse {kinds[kind].name}: {reason}",
            f"See `slurm` and `jobs: {{{kind}: …}}` in the site file, and gpus in the spec",
        )
        for kind, reason in refused.items()
    ]
