"""A masker that waits, hangs, raises, exits, or allocates memory while training.

Tests copy it into the working directory. Its kind `slow` waits for the file `hurry` there.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ablate.model.masking import AbstractMasker
from ablate.training.signals import StopSignal
from maskers import Random


@dataclass(frozen=True, kw_only=True)
class Scripted(AbstractMasker):
    kind: str = "good"
    ratio: float = 0.6

    @property
    def promises(self):
        return Random(ratio=self.ratio).promises

    def draw(self, clips, generator):
        if clips.batch == 4 and clips.progress > 0.02:
            if self.kind == "slow":
                wait_for_file()
            if self.kind == "stuck" and not Path("was_stuck").exists():
                Path("was_stuck").touch()
                time.sleep(600)
            if self.kind == "raises":
                raise RuntimeError("a step too far")
            if self.kind == "exits":
                os._exit(3)
            if self.kind == "eats":
                allocated = [b"x" * 100_000_000 for _ in range(20)]
                time.sleep(30)
                assert allocated
        return Random(ratio=self.ratio).draw(clips, generator)


def wait_for_file():
    """Waits until a test creates the file `hurry`, or until this process receives a signal."""
    stop = getattr(signal.getsignal(signal.SIGUSR2), "__self__", StopSignal())  # the signal handler
    deadline = time.monotonic() + float(os.environ["SCRIPTED_SECONDS"])
    while not (stop.signal or Path("hurry").exists() or time.monotonic() > deadline):
        time.sleep(0.05)
