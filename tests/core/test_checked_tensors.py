"""Checksums of tensors do not depend on strides that a single value may have."""

import torch

from ablate.core.checked_tensors import load_tensors, save_tensors


def test_a_single_value_with_any_stride_is_saved_and_loaded(tmp_path):
    tensors = {"odd": torch.arange(4.0)[::2][:1], "rest": torch.arange(6.0).view(2, 3).T}
    save_tensors(tmp_path / "file.safetensors", tensors)
    loaded = load_tensors(tmp_path / "file.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())
