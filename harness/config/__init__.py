"""The user's two files, spec and site, as frozen models."""
