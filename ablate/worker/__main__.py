"""Runs `python -m ablate.worker`."""

import sys

from ablate.worker.main import main

if __name__ == "__main__":
    sys.exit(main())
