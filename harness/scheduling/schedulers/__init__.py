"""Where jobs are submitted to: Slurm, or this machine."""
