"""The doors of chance: a generator for every use, derived from the trial's seed and a name.

No generator carries state from step to step. What is drawn depends only on its key, so two
variants with one seed share all that they can share, and a run resumes from its step alone.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def derive(seed: int, *key: str | int) -> int:
    """Derives a 63-bit seed from a trial's seed and a key such as `("mask", 120)`."""
    text = "\x1f".join([str(seed), *map(str, key)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """Returns a fresh CPU generator for one use, e.g. `generator(seed, "mask", step)`."""
    return torch.Generator().manual_seed(derive(seed, *key))


@dataclass(frozen=True)
class Chance:
    """The chance of one training step: what layers draw for the clips of a batch.

    A clip's draws depend on the seed, the step, the use and the clip's place in the global
    batch, so that a slice of that batch draws what the whole would.
    """

    seed: int
    step: int
    first: int = 0  # the place in the global batch of the first clip at hand

    def uniform(self, samples: int, *use: str | int, copies: int = 1) -> Tensor:
        """Draws a number in [0, 1) for each of `samples`, (samples,) on the CPU.

        There are `copies` samples of each clip side by side.
        """
        before = self.first * copies
        drawn = torch.rand(before + samples, generator=generator(self.seed, *use, self.step))
        return drawn[before:]
