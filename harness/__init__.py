"""Post-training experiments on Slurm clusters: train, evaluate every checkpoint, one table."""

__version__ = "0.1.0"
