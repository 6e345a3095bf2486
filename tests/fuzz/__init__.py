"""Damaged input for every reader of text and files: `python -m tests.fuzz TARGET SECONDS`."""
