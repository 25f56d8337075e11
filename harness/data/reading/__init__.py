"""Rows of files, folders and globs, one after another in flat memory."""
