"""These tests need a machine of their own, which only `make test-cluster` makes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from real.isolated import MARK

collect_ignore_glob = [] if MARK in os.environ else ["test_*.py"]
sys.path.append(str(Path(__file__).parents[1] / "flyte"))  # what the flow's tests share
