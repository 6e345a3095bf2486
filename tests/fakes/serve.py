"""`python -m tests.fakes.serve ISSUES COMMENTS TEXTS.json`: a large made repository, until killed.

In a process of its own, so that measuring a client does not measure the server.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from .github import Fake
from .repository import generated


def main() -> None:
    issues, comments, texts = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    fake = Fake(generated(issues, comments, json.loads(texts.read_text())))
    fake.listen()
    print(fake.url, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
