"""Rows and chat templates: a saved dataset, rendering, masks, end tokens. No torch."""
