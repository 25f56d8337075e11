"""Evaluation of one checkpoint: generate, grade, aggregate."""
