"""A stranger's masker that waits, hangs, raises, exits, or eats memory, while training.

It is copied to where trials find it. `slow` waits for the file `hurry` in the working directory.
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
class Guest(AbstractMasker):
    kind: str = "good"
    ratio: float = 0.6

    @property
    def promises(self):
        return Random(ratio=self.ratio).promises

    def draw(self, clips, generator):
        if clips.batch == 4 and clips.progress > 0.02:
            if self.kind == "slow":
                wait_to_go_on()
            if self.kind == "stuck" and not Path("was_stuck").exists():
                Path("was_stuck").touch()
                time.sleep(600)
            if self.kind == "raises":
                raise RuntimeError("a step too far")
            if self.kind == "exits":
                os._exit(3)
            if self.kind == "eats":
                eaten = [b"x" * 100_000_000 for _ in range(20)]
                time.sleep(30)
                assert eaten
        return Random(ratio=self.ratio).draw(clips, generator)


def wait_to_go_on():
    """Waits until a test says `hurry`, or until this process is told to stop."""
    stop = getattr(signal.getsignal(signal.SIGUSR2), "__self__", StopSignal())  # the signal handler
    deadline = time.monotonic() + float(os.environ["GUEST_SECONDS"])
    while not (stop.signal or Path("hurry").exists() or time.monotonic() > deadline):
        time.sleep(0.05)
