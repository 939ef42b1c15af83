"""A plan says when clips do not fit the window, the bands or the splits of a trial."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.records.messages import ProgressMessage
from ablate.core.records.planning import PlanReply, PlanRequest
from ablate.mask_analysis.realised_shares import compute_realised_shares
from ablate.model.masking import Grid
from ablate.parts import build
from ablate.training.metrics import TrainingMetrics
from ablate.worker.audio_data import open_audio
from ablate.worker.audio_fit import _find_empty_bands
from ablate.worker.share_check import ShareCheck
from ablate.worker.trial import Trial
from ablate.worker.validation import validate
from maskers import Random
from tests.audio.sounds import create_tone, write_clip

KNN = {"knn": {"type": "ablate.probing.knn.KNN"}}
Planner = Callable[..., PlanReply]


@pytest.fixture
def plan(settings: dict[str, Any], tmp_path: Path) -> Planner:
    """Plans a trial on clips of given lengths; columns are added to the manifest."""

    def run(
        seconds: list[float], rate: int = 16000, column: list[str] | None = None, **changes: Any
    ) -> PlanReply:
        folder = tmp_path / f"corpus{len(list(tmp_path.iterdir()))}"
        rows = ["path,label,split" + (",speaker" if column else "")]
        for n, length in enumerate(seconds):
            sound = create_tone(length, rate, hertz=400 + 200 * (n % 2), seed=n)
            write_clip(folder, f"{n}.wav", sound, rate)
            row = f"{n}.wav,{'ab'[n % 2]},{'train' if n % 4 < 2 else 'test'}"
            rows.append(row + (f",{column[n]}" if column else ""))
        (folder / "m.csv").write_text("\n".join(rows) + "\n")
        data = {"type": "ablate.audio.sources.Folder", "manifest": str(folder / "m.csv")}
        trial = {**settings, "data": data, **changes}
        request = PlanRequest(trials=(trial,), optional=((),), probes=KNN)
        return validate(request, tmp_path / "cache", ignore)

    return run


def ignore(message: ProgressMessage) -> None:
    """Receives progress."""


def get_notes(reply: PlanReply) -> str:
    [trial] = reply.get_resolved()
    return "\n".join((*trial.facts.notes, *reply.data[0].notes))


def test_clips_that_fit_need_no_note(plan: Planner) -> None:
    assert get_notes(plan([0.7] * 240)) == ""


def test_padding_is_counted_and_a_crop_suggested(plan: Planner) -> None:
    notes = get_notes(plan([0.4] * 40, crop_frames=512))
    assert "92% of a crop of 5.12 s is padding: clips last 0.40 s; with" in notes
    assert "with `crop_frames: 48` it would be 17%" in notes


def test_short_clips_are_counted(plan: Planner) -> None:
    assert "shorter than two patches" not in get_notes(plan([0.7] * 16, patchifier=STRIPS))
    notes = get_notes(plan([0.7] * 4 + [0.1] + [0.7] * 11, patchifier=STRIPS))
    assert "1 of 8 pre-training clips are shorter than two patches" in notes
    assert "`4.wav`" in notes


STRIPS = {"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 16}


def test_bands_above_the_bandwidth_are_counted_and_a_limit_suggested(plan: Planner) -> None:
    notes = get_notes(plan([0.7] * 8, rate=8000))
    assert "of 32 bands hold almost no sound" in notes
    assert "`mel.f_max: 4000`" in notes
    assert "of 32 bands" not in get_notes(plan([0.7] * 8, rate=8000, mel=LIMITED))


LIMITED = {"type": "ablate.audio.mel.LogMel", "bands": 32, "f_max": 4000}


@given(st.integers(12, 128), st.floats(0, 0.12), st.integers(0, 99))
def test_a_spectrum_that_falls_slowly_has_no_empty_bands(
    bands: int, slope: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, bands)
    level = noise - slope * np.arange(bands) * 64 / bands
    assert _find_empty_bands(level.astype(np.float32)) is None


def test_few_test_clips_and_a_single_speaker_are_noted(plan: Planner) -> None:
    speakers = ["x" if n % 4 < 2 and n < 4 else "y" if n % 4 < 2 else "z" for n in range(16)]
    notes = get_notes(plan([0.7] * 16, column=speakers))
    assert "has 8 test clips: one clip more or less right is a difference of 12.5 points" in notes
    assert "all test clips of task" in notes
    assert "are of one speaker, `z`" in notes
    notes = get_notes(plan([0.7] * 16, column=["x", "y"] * 8))
    assert "2 values of `speaker` are among the test clips and the others" in notes


def test_shares_are_those_of_patches_without_padding() -> None:
    grid, masker = Grid(4, 8), Random(ratio=0.6)
    full = compute_realised_shares(masker, grid)
    short = compute_realised_shares(masker, grid, columns=(2, 3, 8))
    assert short.context + short.targets == pytest.approx(1, abs=1e-3)
    assert short.context == pytest.approx(full.context, abs=0.03)
    assert compute_realised_shares(masker, grid, columns=(8,)) == full


def test_a_match_is_reached_on_the_real_lengths(plan: Planner) -> None:
    match = {"context": 0.375, "by": "context_area"}
    masker = {"type": "maskers.MultiBlock", "match": match}
    narrow = {"type": "ablate.model.patchify.Rectangles", "freq": 8, "time": 8}
    changes = {"masker": masker, "patchifier": narrow, "crop_frames": 128}
    reply = plan([0.35, 0.5, 0.64, 1.28] * 4, **changes)
    assert reply.all_problems == ()
    [trial] = reply.get_resolved()
    [reached] = trial.facts.matched
    assert abs(reached.reached - 0.375) < 0.01
    assert trial.facts.context == pytest.approx(reached.reached, abs=1e-3)
    assert trial.settings["masker"]["context_area"] == list(reached.value)
    [full] = plan([1.28] * 16, **changes).get_resolved()
    assert full.facts.matched[0].value != reached.value


@pytest.mark.parametrize("realised", [0.38, 0.47])
def test_first_masks_that_differ_from_the_plan_are_a_warning(
    settings: dict[str, Any], tmp_path: Path, realised: float
) -> None:
    trial = build({**settings, "masker": {"type": "maskers.Random", "ratio": 0.6}}, expect=Trial)
    audio = open_audio(trial.data, trial.mel, tmp_path)
    zeros = dict.fromkeys((field.name for field in fields(TrainingMetrics)), 0.0)
    first = {**zeros, "step": 20, "context_fraction": realised, "target_fraction": 0.62}
    warning = ShareCheck(trial, audio).find_warning(TrainingMetrics(**first))
    assert bool(warning) == (realised == 0.47)
    if warning:
        assert "context 47.0% of the patches instead of" in warning


def test_files_in_the_rows_of_several_tasks_are_counted(settings, tmp_path: Path) -> None:
    rows = ["path,task,label,split"]
    for n in range(16):
        write_clip(tmp_path, f"{n}.wav", create_tone(0.7, 16_000, hertz=400 + n, seed=n), 16_000)
        split = "train" if n % 4 < 2 else "test"
        rows += [f"{n}.wav,digit,{'ab'[n % 2]},{split}", f"{n}.wav,voice,{'cd'[n // 8]},{split}"]
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    data = {"type": "ablate.audio.sources.Folder", "manifest": str(tmp_path / "m.csv")}
    request = PlanRequest(trials=({**settings, "data": data},), optional=((),), probes=KNN)
    notes = get_notes(validate(request, tmp_path / "cache", ignore))
    assert "the 32 clips are rows of 16 files" in notes
