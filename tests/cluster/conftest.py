"""These tests need a machine of their own, which only `make test-cluster` makes."""

from __future__ import annotations

import os

from real.isolated import MARK

collect_ignore_glob = [] if MARK in os.environ else ["test_*.py"]
