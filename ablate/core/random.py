"""Random generators derived from a trial's seed and a purpose.

No generator carries state from step to step: a draw depends only on its key. Two variants with
one seed therefore share every draw whose key agrees, and a run resumes from its step number alone.
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
    """Returns a fresh CPU generator for one purpose, e.g. `generator(seed, "mask", step)`."""
    return torch.Generator().manual_seed(derive(seed, *key))


@dataclass(frozen=True)
class StepRandom:
    """Random numbers of one training step, drawn per clip.

    A clip's numbers depend on the seed, the step, the purpose and the clip's position in the
    global batch, so each rank's slice of the batch gets the numbers that one process would draw.
    """

    seed: int
    step: int
    first: int = 0  # position in the global batch of the first clip of this slice

    def uniform(self, samples: int, *use: str | int, copies: int = 1) -> Tensor:
        """Draws one number in [0, 1) per sample.

        Args:
            samples: Number of samples in this slice: clips times `copies`.
            use: Key of the purpose, e.g. `("drop path", layer)`; each key has its own stream.
            copies: Consecutive samples that belong to one clip.

        Returns:
            `(samples,)` float32 on the CPU.
        """
        before = self.first * copies
        numbers = torch.rand(before + samples, generator=generator(self.seed, *use, self.step))
        return numbers[before:]
