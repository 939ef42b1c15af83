"""The parts in docs/tutorials/own_parts.md work with only the members that they implement."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ablate.audio.mel import LogMel
from ablate.audio.source import AbstractSource
from ablate.audio.store import open_store
from ablate.model.encoder import AbstractEncoder
from ablate.model.masking import Grid
from ablate.parts import build
from ablate.probing.probe import AbstractProbe, Features
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import find_tasks
from ablate.testing import check_patchifier

DOCS = Path(__file__).parents[1] / "docs" / "tutorials" / "own_parts.md"


@pytest.fixture(scope="module")
def examples() -> Any:
    """Executes the examples as a module `docs_parts`, so that settings can name their classes."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    module = ModuleType("docs_parts")
    sys.modules["docs_parts"] = module
    exec(compile("\n".join(blocks), str(DOCS), "exec"), vars(module))  # with the checks in them
    yield module
    del sys.modules["docs_parts"]


def test_a_minimal_source_goes_through_the_clip_store(examples: ModuleType, tmp_path: Path) -> None:
    source = build({"type": "docs_parts.Tones", "per_split": 2}, expect=AbstractSource)
    store = open_store(source, LogMel(bands=32), tmp_path)
    assert len(store.clips) == 12
    assert store.skipped == store.silent == ()
    low, high = (store.frames(index).mean(axis=0).argmax() for index in (0, 6))
    assert low < high
    again = open_store(source, LogMel(bands=32), tmp_path)
    assert again.digest == store.digest
    assert np.array_equal(again.frames(3), store.frames(3))


def test_a_minimal_source_with_other_clips_has_another_list_version(
    examples: ModuleType,
) -> None:
    few, many = examples.Tones(per_split=1), examples.Tones(per_split=2)
    assert few.list_version != many.list_version
    assert few.list_version == examples.Tones(per_split=1).list_version


def test_a_clip_of_other_samples_has_another_content_digest(examples: ModuleType) -> None:
    source = examples.Tones(per_split=1)
    low, low_again, high = (source.content_digest(index) for index in (0, 1, 3))
    assert low == low_again != high


def test_a_minimal_probe_scores_a_task(examples: ModuleType) -> None:
    probe = build({"type": "docs_parts.NearestMean", "norm": 1}, expect=AbstractProbe)
    [task] = find_tasks(examples.Tones(per_split=3).clips())
    rows = np.stack([task.labels, 1 - task.labels], axis=1).astype(np.float32)
    assert score_probe(probe, Features.from_vectors(rows), task)["test"] == 100.0
    constant = np.ones_like(rows)
    assert score_probe(probe, Features.from_vectors(constant), task)["test"] == 50.0


def test_a_minimal_encoder_is_built_from_settings(examples: ModuleType) -> None:
    encoder = build({"type": "docs_parts.BagOfPatches", "dim": 8}, expect=AbstractEncoder)
    assert encoder.build(Grid(2, 3), pixels=4).dim == 8
    check_patchifier(examples.HalfOverlapping(bands=4, frames=3))
