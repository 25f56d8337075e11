"""Tests of harness.chats."""
