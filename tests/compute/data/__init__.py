"""Datasets to train on."""
