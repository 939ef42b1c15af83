"""Listing, drawing and measuring the maskers of a package."""

import sys

import numpy as np
import pytest
import soundfile
import torch

from ablate.core.records.benchmarks import NamedMasker
from ablate.core.records.messages import GridMasks, ZooRequest
from ablate.mask_analysis.sample_audio import SampleAudio
from ablate.model.masking import Grid
from ablate.parts import PartError
from ablate.worker.masker_zoo import draw_zoo, list_maskers

PACKAGE = '''\
"""Maskers of a user's package."""

from dataclasses import dataclass

from ablate.model.masking import AbstractMasker, UnsupportedGridError, Mask, Promises

__all__ = ["HALF", "Half", "Nothing", "StripsOnly", "Twice", "Wrapped"]
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Half(AbstractMasker):
    """Hides the louder half.

    Whatever is silent stays.
    """

    @property
    def promises(self):
        return Promises(context=(0.5, 0.5), needs="patches", unvisited="sound is")

    def draw(self, clips, generator):
        loud = clips.get_content(self).mean(dim=-1)
        context = loud <= loud.median(dim=1, keepdim=True).values
        return Mask(context, (clips.valid & ~context).unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class StripsOnly(Half):
    """Takes strips."""

    def draw(self, clips, generator):
        if clips.grid.freq > 1:
            raise UnsupportedGridError(f"{clips.grid} has rows; use strips")
        return super().draw(clips, generator)


@dataclass(frozen=True, kw_only=True)
class Nothing(Half):
    """Leaves an empty context."""

    def draw(self, clips, generator):
        mask = super().draw(clips, generator)
        return Mask(mask.context & False, mask.targets)


@dataclass(frozen=True, kw_only=True)
class Twice(Half):
    """Repeats another.

    For example `inner: {type: user_maskers.Half},
    times: 2`, or `not this`.
    """

    inner: AbstractMasker
    times: int
    spare: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Wrapped(Half):
    """Wraps another.

    Example:
        masker: {type: user_maskers.Wrapped,
          inner: {type: user_maskers.Half}}
    """

    inner: AbstractMasker
'''
GRIDS = ((4, 8), (1, 32))


@pytest.fixture(scope="module")
def user_maskers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user_maskers")
    (folder / "user_maskers.py").write_text(PACKAGE)
    (folder / "hollow.py").write_text("__all__ = ['Missing']\nMising = 1\n")
    (folder / "bare.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "user_maskers"
        for name in ("user_maskers", "hollow", "bare"):
            sys.modules.pop(name, None)


def draw(folder, *names, audio=None, settings=None):
    maskers = [
        NamedMasker(name=name, settings=settings or {"type": f"user_maskers.{name}"})
        for name in names
    ]
    events = []
    request = ZooRequest(folder=folder, maskers=tuple(maskers), grids=GRIDS, audio=audio)
    return draw_zoo(request, events.append), events


def test_a_catalogue_lists_maskers_with_their_documentation(user_maskers):
    listed = {masker.name: masker for masker in list_maskers(user_maskers).maskers}
    assert list(listed) == ["Half", "Nothing", "StripsOnly", "Twice", "Wrapped"]
    assert listed["Half"].about == "Hides the louder half."
    assert listed["Half"].needs == ()
    assert listed["Twice"].needs == ("inner", "times")
    assert listed["Twice"].examples == ("inner: {type: user_maskers.Half}, times: 2",)
    assert listed["Wrapped"].examples == ("inner: {type: user_maskers.Half}",)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("nowhere.at.all", "no module `nowhere` on Python's path"),
        ("bare", "`bare` has no `__all__`; list its maskers there"),
        ("hollow", "names `Missing`, which is missing .did you mean `Mising`"),
        ("json", "lists no masker in its `__all__`"),
    ],
)
def test_a_package_without_maskers_is_rejected(user_maskers, package, message):
    with pytest.raises(PartError, match=message):
        list_maskers(package)


def test_every_masker_is_drawn_and_measured_on_every_grid(user_maskers, tmp_path):
    answer, events = draw(tmp_path, "Half")
    [masker] = answer.maskers
    assert [entry.grid for entry in masker.grids] == ["4x8", "1x32"]
    for entry in masker.grids:
        assert entry.figures["context"]["mean"] == pytest.approx(0.5)
        for file in (entry.masks, entry.counts):
            assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")
    assert masker.declared["needs"] == "patches"
    assert [(event.done, event.total) for event in events] == [(0, 1)]


def test_a_masker_that_reads_content_is_measured_on_many_clips(user_maskers, tmp_path):
    answer, _ = draw(tmp_path, "Half")
    visits = np.array(answer.maskers[0].grids[0].figures["context_visits"])
    assert ((visits > 0) & (visits < 1)).mean() > 0.8


def test_an_unsupported_grid_is_reported_and_the_others_are_drawn(user_maskers, tmp_path):
    answer, _ = draw(tmp_path, "StripsOnly")
    squares, strips = answer.maskers[0].grids
    assert squares == GridMasks(grid="4x8", problem="4x8 has rows; use strips")
    assert strips.problem is None


def test_a_broken_promise_is_reported(user_maskers, tmp_path):
    answer, _ = draw(tmp_path, "Nothing")
    assert answer.maskers[0].grids[0].problem == "an empty context on 4x8"


def test_missing_settings_are_reported(user_maskers, tmp_path):
    answer, _ = draw(tmp_path, "Twice")
    [masker] = answer.maskers
    assert (
        masker.problem == "`user_maskers.Twice` needs `inner`; `user_maskers.Twice` needs `times`"
    )
    assert masker.grids == ()


def test_a_user_file_is_drawn(user_maskers, tmp_path):
    times = np.arange(3 * 22050) / 22050
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * times), 22050)
    answer, _ = draw(tmp_path, "Half", audio=tmp_path / "tone.wav")
    assert answer.clip == "tone.wav"
    assert answer.maskers[0].grids[0].problem is None


def test_a_file_that_is_not_audio_is_rejected(user_maskers, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(PartError, match=r"`.*text.wav` cannot be decoded"):
        draw(tmp_path, "Half", audio=tmp_path / "text.wav")


@pytest.mark.parametrize("grid", [Grid(8, 64), Grid(5, 38), Grid(1, 3), Grid(16, 600)], ids=str)
def test_a_clip_is_cut_into_patches_of_any_grid(grid):
    audio = SampleAudio(
        "noise", torch.randn(3, 64, 128, generator=torch.Generator().manual_seed(0))
    )
    bands, frames = audio.mel(grid).shape
    assert bands % grid.freq == frames % grid.time == 0
    assert audio.content(grid).shape == (3, grid.size, bands * frames // grid.size)
