"""A trial that trains in seconds."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def settings() -> dict[str, Any]:
    """A trial's settings; each test has its own copy to change."""
    return {
        "data": {
            "type": "ablate.audio.synthetic.Synthetic",
            "clips_per_class": 2,
            "valid_per_class": 1,
            "test_per_class": 1,
        },
        "mel": {"type": "ablate.audio.mel.LogMel", "bands": 32},
        "crop_frames": 64,
        "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
        "masker": {"type": "maskers.MultiBlock"},
        "encoder": {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2},
        "predictor": {"type": "ablate.model.predictor.Joint", "dim": 16, "layers": 1, "heads": 2},
        "objective": {"type": "ablate.model.objectives.SmoothL1"},
        "budget": {"steps": 60, "batch": 4},
        "seed": 0,
    }


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded clips, shared by all tests."""
    return tmp_path_factory.mktemp("cache")
