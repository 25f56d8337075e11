"""Tests of harness.scheduling."""
