"""Tests of harness.preflight."""
