"""Answers to a benchmark: asked of a server, kept on disk."""
