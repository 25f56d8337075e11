"""A private, real Slurm for the tests: see cluster.py."""
