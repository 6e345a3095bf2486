"""`python -m opslore`."""

import sys

from opslore.cli import main

if __name__ == "__main__":
    sys.exit(main())
