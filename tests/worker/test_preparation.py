"""Clips that were decoded ahead of time are not decoded again by a plan or a run."""

from pathlib import Path

import pytest

from ablate.core.records.decoding_requests import DecodeRequest
from ablate.parts import PartError
from ablate.worker.preparation import decode_audio
from tests.worker.runs import create_settings, ignore, plan_trials

CLIPS = {
    "type": "ablate.audio.synthetic.Synthetic",
    "clips_per_class": 2,
    "valid_per_class": 1,
    "test_per_class": 1,
    "seed": 7,
}
PROBES = {
    "knn": {"type": "ablate.probing.knn.KNN", "k": 3},
    "other": {"type": "ablate.probing.knn.KNN", "k": 3, "tasks": CLIPS},
}


def create_request(part: tuple[int, int] | None = None) -> DecodeRequest:
    """Asks for the clips of trials on two front ends, one of which has an optional setting."""
    settings = create_settings()
    wide = {**settings, "mel": {**settings["mel"], "bands": 48, "stripes": 2}}
    optional = ((), (("mel", "stripes"),))
    return DecodeRequest(trials=(settings, wide), optional=optional, probes=PROBES, part=part)


def list_files(cache: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in cache.rglob("*") if file.is_file()}


def test_a_plan_finds_all_clips_decoded(tmp_path: Path) -> None:
    for number in (1, 0):
        decode_audio(create_request((number, 2)), tmp_path, ignore)
    reply = decode_audio(create_request(), tmp_path, ignore)
    assert len({store.folder for store in reply.stores}) == len(reply.stores) == 4
    assert all(store.clips and store.hours and store.bytes for store in reply.stores)
    before = list_files(tmp_path)
    narrow = create_settings()
    trials = narrow, {**narrow, "mel": {**narrow["mel"], "bands": 48}}
    assert not plan_trials(trials, PROBES, tmp_path).all_problems
    assert list_files(tmp_path) == before


def test_sources_that_cannot_be_used_are_named_once_the_others_are_decoded(tmp_path: Path) -> None:
    settings = create_settings()
    missing = {"type": "ablate.audio.sources.Folder", "manifest": str(tmp_path / "no.csv")}
    trials = ({**settings, "data": missing}, settings)
    request = DecodeRequest(trials=trials, probes=PROBES)
    with pytest.raises(PartError, match=r"no\.csv"):
        decode_audio(request, tmp_path / "cache", ignore)
    assert len(list((tmp_path / "cache").glob("*/index"))) == 2
