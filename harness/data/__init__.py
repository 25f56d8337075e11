"""Datasets to train on: from the Hub, and from files."""
