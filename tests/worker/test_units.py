"""Sizes in seconds, or `all`, are converted to frames and bands before a trial is hashed."""

import copy

import pytest

from ablate.parts import PartError
from ablate.worker.units import convert_sizes
from tests.worker.runs import plan_trials

LOG_MEL = {"type": "ablate.audio.mel.LogMel", "bands": 32}
RECTANGLES = "ablate.model.patchify.Rectangles"
SLOW = {**LOG_MEL, "hop_ms": 39.0625, "window_ms": 97.65625}


def convert(patchifier, mel=LOG_MEL, **settings):
    """Returns the converted patchifier and crop."""
    converted = convert_sizes({"mel": mel, "patchifier": patchifier, **settings})
    return converted["patchifier"], converted.get("crop_frames")


@pytest.mark.parametrize(
    ("mel", "seconds", "frames"), [(LOG_MEL, 0.16, 16), (SLOW, 0.625, 16), (SLOW, 0.0390625, 1)]
)
def test_seconds_are_converted_to_hops(mel, seconds, frames):
    rectangles, _ = convert({"type": RECTANGLES, "freq": 16, "seconds": seconds}, mel)
    assert rectangles == {"type": RECTANGLES, "freq": 16, "time": frames}


def test_a_stride_may_be_in_seconds():
    wave = {"type": "ablate.audio.waveform.Waveform"}
    windows, _ = convert({"type": "W", "seconds": 0.025, "stride_seconds": 0.02}, wave)
    assert windows == {"type": "W", "time": 400, "time_stride": 320}


def test_all_stands_for_all_bands_or_all_frames():
    strips, _ = convert({"type": RECTANGLES, "freq": "all", "seconds": 0.04})
    rows, _ = convert({"type": RECTANGLES, "freq": 8, "time": "all"}, crop_frames=128)
    assert strips == {"type": RECTANGLES, "freq": 32, "time": 4}
    assert rows == {"type": RECTANGLES, "freq": 8, "time": 128}


@pytest.mark.parametrize(
    ("patchifier", "mel", "frames"),
    [
        ({"type": RECTANGLES}, LOG_MEL, 128),
        ({"type": RECTANGLES, "time": 10}, LOG_MEL, 120),
        ({"type": RECTANGLES}, SLOW, 32),
        ({"type": "ablate.model.patchify.Overlapping", "rest": "drop"}, LOG_MEL, 126),
        ({"type": RECTANGLES, "time": "all"}, LOG_MEL, 128),
    ],
)
def test_a_crop_in_seconds_is_rounded_down_to_complete_patches(patchifier, mel, frames):
    assert convert(patchifier, mel, crop_seconds=1.28)[1] == frames


def test_equal_sizes_in_seconds_and_frames_have_one_fingerprint(settings, cache):
    patches = {"type": RECTANGLES, "freq": 16, "seconds": 0.16}
    in_seconds = {**copy.deepcopy(settings), "patchifier": patches, "crop_seconds": 0.64}
    del in_seconds["crop_frames"]
    longer_hop = {**copy.deepcopy(in_seconds), "mel": {**settings["mel"], "hop_ms": 20.0}}
    first, second, third = plan_trials([settings, in_seconds, longer_hop], {}, cache).get_resolved()
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert [trial.settings["patchifier"]["time"] for trial in (second, third)] == [16, 8]


@pytest.mark.parametrize(
    ("patchifier", "others", "path", "message"),
    [
        ({"seconds": 0.165}, {}, ["patchifier", "seconds"], "use 0.16 s or 0.17 s"),
        (
            {"seconds": "long"},
            {},
            ["patchifier", "seconds"],
            "a number of seconds above 0; got 'long'",
        ),
        ({"seconds": 0.16, "time": 16}, {}, ["patchifier", "seconds"], "keep one of them"),
        ({}, {"crop_seconds": 1, "crop_frames": 9}, ["crop_seconds"], "keep one of them"),
        (
            {},
            {"crop_seconds": 0.1},
            ["crop_seconds"],
            "fewer than the 16 of a patch; use at least 0.16 s",
        ),
        ({}, {"crop_seconds": 0}, ["crop_seconds"], "a number of seconds above 0; got 0"),
    ],
)
def test_an_impossible_size_is_reported_at_its_setting(patchifier, others, path, message):
    with pytest.raises(PartError) as refusal:
        convert({"type": RECTANGLES, **patchifier}, **others)
    [problem] = refusal.value.problems
    assert list(problem.path) == path
    assert message in problem.message


def test_sizes_in_frames_are_not_changed(settings):
    assert convert_sizes(settings) == settings
