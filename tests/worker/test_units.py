"""Sizes in seconds, or of all there is, become frames and bands before a trial has a name."""

import copy

import pytest

from ablate.parts import PartError
from ablate.worker.units import convert_sizes
from tests.worker.plan_trials import plan_trials

LOG_MEL = {"type": "ablate.audio.mel.LogMel", "bands": 32}
RECTANGLES = "ablate.model.patchify.Rectangles"
SLOW = {**LOG_MEL, "hop_ms": 39.0625, "window_ms": 97.65625}


def cut(patchifier, mel=LOG_MEL, **others):
    found = convert_sizes({"mel": mel, "patchifier": patchifier, **others})
    return found["patchifier"], found.get("crop_frames")


@pytest.mark.parametrize(
    ("mel", "seconds", "frames"), [(LOG_MEL, 0.16, 16), (SLOW, 0.625, 16), (SLOW, 0.0390625, 1)]
)
def test_seconds_are_counted_in_hops(mel, seconds, frames):
    rectangles, _ = cut({"type": RECTANGLES, "freq": 16, "seconds": seconds}, mel)
    assert rectangles == {"type": RECTANGLES, "freq": 16, "time": frames}


def test_the_stride_of_windows_may_be_in_seconds_too():
    wave = {"type": "ablate.audio.waveform.Waveform"}
    windows, _ = cut({"type": "W", "seconds": 0.025, "stride_seconds": 0.02}, wave)
    assert windows == {"type": "W", "time": 400, "time_stride": 320}


def test_all_bands_make_strips_and_all_frames_make_rows():
    strips, _ = cut({"type": RECTANGLES, "freq": "all", "seconds": 0.04})
    rows, _ = cut({"type": RECTANGLES, "freq": 8, "time": "all"}, crop_frames=128)
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
def test_a_crop_in_seconds_holds_the_most_whole_patches(patchifier, mel, frames):
    assert cut(patchifier, mel, crop_seconds=1.28)[1] == frames


def test_seconds_and_frames_that_are_the_same_have_one_name(settings, cache):
    patches = {"type": RECTANGLES, "freq": 16, "seconds": 0.16}
    told = {**copy.deepcopy(settings), "patchifier": patches, "crop_seconds": 0.64}
    del told["crop_frames"]
    quick = {**copy.deepcopy(told), "mel": {**settings["mel"], "hop_ms": 20.0}}
    first, second, third = plan_trials([settings, told, quick], {}, cache).get_resolved()
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert [trial.settings["patchifier"]["time"] for trial in (second, third)] == [16, 8]


@pytest.mark.parametrize(
    ("patchifier", "others", "path", "message"),
    [
        ({"seconds": 0.165}, {}, ["patchifier", "seconds"], "use 0.16 s or 0.17 s"),
        ({"seconds": "long"}, {}, ["patchifier", "seconds"], "a number of seconds above 0; got 'long'"),
        ({"seconds": 0.16, "time": 16}, {}, ["patchifier", "seconds"], "keep one of them"),
        ({}, {"crop_seconds": 1, "crop_frames": 9}, ["crop_seconds"], "keep one of them"),
        ({}, {"crop_seconds": 0.1}, ["crop_seconds"], "fewer than the 16 of a patch; use at least 0.16 s"),
        ({}, {"crop_seconds": 0}, ["crop_seconds"], "a number of seconds above 0; got 0"),
    ],
)
def test_impossible_sizes_are_refused_at_their_setting(patchifier, others, path, message):
    with pytest.raises(PartError) as refusal:
        cut({"type": RECTANGLES, **patchifier}, **others)
    [problem] = refusal.value.problems
    assert list(problem.path) == path
    assert message in problem.message


def test_settings_in_frames_are_left_alone(settings):
    assert convert_sizes(settings) == settings
