"""The doors of chance: a generator for every use, derived from the trial's seed and a name.

No generator carries state from step to step. What is drawn depends only on its key, so two
variants with one seed share all that they can share, and a run resumes from its step alone.
"""

import hashlib

import torch


def derive(seed: int, *key: str | int) -> int:
    """Derives a 63-bit seed from a trial's seed and a key such as `("mask", 120)`."""
    text = "\x1f".join([str(seed), *map(str, key)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """Returns a fresh CPU generator for one use, e.g. `generator(seed, "mask", step)`."""
    return torch.Generator().manual_seed(derive(seed, *key))
