"""Runs `python -m ablate.audio.decoding_process`: see `ablate.audio.decoder`."""

import sys

from ablate.core.fast_imports import paused_garbage_collection

if __name__ == "__main__":
    with paused_garbage_collection():
        # the usual front end and source, which an order names, beside what decodes
        from ablate.audio import mel, sources  # noqa: F401
        from ablate.audio.decoder import main
    sys.exit(main())
