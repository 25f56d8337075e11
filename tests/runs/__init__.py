"""Tests of harness.runs."""
