"""The zoo on show: what a package offers is listed, drawn, measured, or refused with a word."""

import sys

import numpy as np
import pytest
import soundfile
import torch

from ablate.mask_analysis.sample_audio import Exhibit
from ablate.model.masking import Grid
from ablate.parts import PartError
from ablate.worker.masker_zoo import draw_zoo, list_maskers

PACKAGE = '''\
"""A stranger's maskers."""

from dataclasses import dataclass

from ablate.model.masking import AbstractMasker, GridRefusedError, Mask, Promises

__all__ = ["HALF", "Half", "Nothing", "StripsOnly", "Twice"]
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
            raise GridRefusedError(f"{clips.grid} has rows; use strips")
        return super().draw(clips, generator)


@dataclass(frozen=True, kw_only=True)
class Nothing(Half):
    """Shows nothing."""

    def draw(self, clips, generator):
        mask = super().draw(clips, generator)
        return Mask(mask.context & False, mask.targets)


@dataclass(frozen=True, kw_only=True)
class Twice(Half):
    """Repeats another.

    For example `inner: {type: strangers.Half},
    times: 2`, or `not this`.
    """

    inner: AbstractMasker
    times: int
    spare: float = 0.0
'''
GRIDS = (Grid(4, 8), Grid(1, 32))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "strangers.py").write_text(PACKAGE)
    (folder / "hollow.py").write_text("__all__ = ['Missing']\nMising = 1\n")
    (folder / "bare.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "strangers"
        for name in ("strangers", "hollow", "bare"):
            sys.modules.pop(name, None)


def drawn(folder, *names, audio=None, settings=None):
    entries = [{"name": n, "settings": settings or {"type": f"strangers.{n}"}} for n in names]
    events = []
    return draw_zoo(folder, entries, GRIDS, audio, events.append), events


def test_a_catalogue_lists_maskers_with_what_they_say_of_themselves(strangers):
    found = {masker["name"]: masker for masker in list_maskers(strangers)["maskers"]}
    assert list(found) == ["Half", "Nothing", "StripsOnly", "Twice"]
    assert found["Half"]["about"] == "Hides the louder half."
    assert found["Half"]["needs"] == []
    assert found["Twice"]["needs"] == ["inner", "times"]
    assert found["Twice"]["examples"] == ["inner: {type: strangers.Half}, times: 2"]


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("nowhere.at.all", "no module `nowhere` on Python's path"),
        ("bare", "`bare` has no `__all__`; list its maskers there"),
        ("hollow", "names `Missing`, which does not exist .did you mean `Mising`"),
        ("json", "lists no masker in its `__all__`"),
    ],
)
def test_a_package_without_maskers_is_refused(strangers, package, message):
    with pytest.raises(PartError, match=message):
        list_maskers(package)


def test_every_masker_is_drawn_and_measured_on_every_grid(strangers, tmp_path):
    answer, events = drawn(tmp_path, "Half")
    [masker] = answer["maskers"]
    assert [shown["grid"] for shown in masker["grids"]] == ["4x8", "1x32"]
    for shown in masker["grids"]:
        assert shown["figures"]["context"]["mean"] == pytest.approx(0.5)
        for name in ("masks", "counts"):
            assert (tmp_path / shown[name]).read_bytes().startswith(b"\x89PNG")
    assert masker["declared"]["needs"] == "patches"
    assert [(event["done"], event["total"]) for event in events] == [(0, 1)]


def test_what_looks_at_the_sound_is_measured_on_many_clips(strangers, tmp_path):
    answer, _ = drawn(tmp_path, "Half")
    visits = np.array(answer["maskers"][0]["grids"][0]["figures"]["context_visits"])
    assert ((visits > 0) & (visits < 1)).mean() > 0.8


def test_a_refused_grid_is_told_and_the_others_are_drawn(strangers, tmp_path):
    answer, _ = drawn(tmp_path, "StripsOnly")
    squares, strips = answer["maskers"][0]["grids"]
    assert squares == {"grid": "4x8", "refused": "4x8 has rows; use strips"}
    assert strips["refused"] is None


def test_a_broken_promise_is_told(strangers, tmp_path):
    answer, _ = drawn(tmp_path, "Nothing")
    assert answer["maskers"][0]["grids"][0]["refused"] == "an empty context on 4x8"


def test_a_masker_that_needs_settings_is_told_to(strangers, tmp_path):
    answer, _ = drawn(tmp_path, "Twice")
    [masker] = answer["maskers"]
    assert masker["refused"] == "`strangers.Twice` needs `inner`; `strangers.Twice` needs `times`"
    assert masker["grids"] == []


def test_a_file_of_ones_own_is_shown(strangers, tmp_path):
    times = np.arange(3 * 22050) / 22050
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * times), 22050)
    answer, _ = drawn(tmp_path, "Half", audio=str(tmp_path / "tone.wav"))
    assert answer["clip"] == "tone.wav"
    assert answer["maskers"][0]["grids"][0]["refused"] is None


def test_a_file_that_is_no_sound_is_refused(strangers, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(PartError, match=r"`.*text.wav` cannot be decoded"):
        drawn(tmp_path, "Half", audio=str(tmp_path / "text.wav"))


@pytest.mark.parametrize("grid", [Grid(8, 64), Grid(5, 38), Grid(1, 3), Grid(16, 600)], ids=str)
def test_a_clip_is_cut_into_whole_patches_of_any_grid(grid):
    exhibit = Exhibit("noise", torch.randn(3, 64, 128, generator=torch.Generator().manual_seed(0)))
    bands, frames = exhibit.mel(grid).shape
    assert bands % grid.freq == frames % grid.time == 0
    assert exhibit.content(grid).shape == (3, grid.size, bands * frames // grid.size)
