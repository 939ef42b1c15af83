"""Hashes the bytes of files."""

import functools
import hashlib
from pathlib import Path
from typing import BinaryIO


def create_hasher() -> hashlib.blake2b:
    """Returns a hasher of 32 hex digits."""
    return hashlib.blake2b(digest_size=16)


def specify_digest(digest: str, segment: str, channel: str) -> str:
    """Returns the digest of a segment or a channel of a file, given that of the file.

    The digest of the file itself stands for all of it, with the mean of its channels.
    """
    if not segment and channel == "mean":
        return digest
    hasher = create_hasher()
    hasher.update(f"{digest} {segment} {channel}".encode())
    return hasher.hexdigest()


def hash_file(file: BinaryIO) -> str:
    """Hashes the bytes of a file, from its present position. Returns 32 hex digits."""
    hasher = create_hasher()
    while block := file.read(1 << 18):
        hasher.update(block)
    return hasher.hexdigest()


@functools.lru_cache(maxsize=16)
def hash_path(file: Path, stamp: str | None) -> str:
    """Hashes a file in the state `stamp`; cached, because all segments of a file need its hash.

    Raises `OSError` for a file that cannot be read.
    """
    with file.open("rb") as content:
        return hash_file(content)
