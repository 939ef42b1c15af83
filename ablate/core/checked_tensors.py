"""Files of tensors that carry a checksum of their content, so that damage is found on loading."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ablate.core.io import DamagedFileError, write_atomically

CHECKSUM = "sha256"  # key in the metadata of the file


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, atomically, with a checksum in the metadata."""
    plain = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(plain, {CHECKSUM: _compute_checksum(plain)}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Loads tensors onto the CPU and verifies their checksum, if the file has one.

    Raises `DamagedFileError`, and `FileNotFoundError` if the file is missing.
    """
    content = path.read_bytes()
    try:
        tensors = load(content)
        with safe_open(path, "pt") as file:
            expected = (file.metadata() or {}).get(CHECKSUM)
    except SafetensorError as error:
        raise DamagedFileError(path, f"cannot be read ({error})") from error
    if expected is not None and expected != _compute_checksum(tensors):
        raise DamagedFileError(path, "does not match its checksum")
    return tensors


def _compute_checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        # a contiguous tensor of one value may have any stride, which a view of bytes refuses
        flat = value.as_strided((value.numel(),), (1,))
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
