"""Runs `python -m ablate.worker`."""

import sys

from ablate.core.fast_imports import paused_garbage_collection

if __name__ == "__main__":
    with paused_garbage_collection():
        from ablate.worker.main import main
    sys.exit(main())
