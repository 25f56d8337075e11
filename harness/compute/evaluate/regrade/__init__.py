"""Saved answers graded again, without a server."""
