"""Rows to train on: opened, tokenised once, waited for."""
