"""Verification compares pairs of clips: all of them, or those of a list of trials."""

from dataclasses import replace

import numpy as np
import pytest

from ablate.audio.clips import ClipTable
from ablate.probing.metrics import equal_error_rate
from ablate.probing.probe import Features
from ablate.probing.scoring import score_probe, standardise
from ablate.probing.tasks import find_tasks
from ablate.probing.verification import MAX_CLIPS, Verification, pair_all
from tests.probing.conftest import clip, make_clusters

SPLITS = ("train", "valid", "test")


@pytest.fixture
def task():
    """Clips `0.wav` to `44.wav` of three speakers; every third is a test clip."""
    clips = [clip(i, "abc"[i // 3 % 3], split=SPLITS[i % 3]) for i in range(45)]
    return find_tasks(ClipTable.from_clips(clips))[0]


@pytest.fixture
def features(task):
    rows, labels = make_clusters(45)
    order = np.argsort(np.argsort(task.labels, kind="stable"), kind="stable")
    return Features.from_vectors(rows[np.argsort(labels, kind="stable")][order])


def compute_expected(features, task, pairs):
    """Compares pairs of (clip, clip, same) one by one."""
    rows = standardise(features.rows, task.parts["train"]).astype(np.float64)
    cosines = [
        rows[one] @ rows[two] / np.linalg.norm(rows[one]) / np.linalg.norm(rows[two])
        for one, two, _ in pairs
    ]
    same = np.array([same for *_, same in pairs], dtype=np.bool_)
    return 100 - equal_error_rate(np.array(cosines, dtype=np.float32), same)


def test_without_a_list_all_pairs_of_test_clips_are_compared(features, task):
    clips = task.parts["test"]
    pairs = [
        (one, two, task.labels[one] == task.labels[two])
        for place, one in enumerate(clips)
        for two in clips[place + 1 :]
    ]
    score = score_probe(Verification(), features, task)
    assert score["metric"] == "eer"
    assert score["test"] == pytest.approx(compute_expected(features, task, pairs), abs=1e-3)
    assert score["valid"] is not None


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_with_a_list_its_trials_are_compared(features, task, tmp_path, separator):
    trials = [(2, 11, 1), (2, 5, 0), (8, 17, 1), (14, 23, 0), (26, 44, 1), (5, 41, 0)]
    lines = [separator.join([str(same), f"{a}.wav", f"{b}.wav"]) for a, b, same in trials]
    (tmp_path / "trials.txt").write_text("\n".join(lines) + "\n")
    probe = Verification(trials=str(tmp_path / "trials.txt")).pin_files()
    score = score_probe(probe, features, task)
    assert score["test"] == pytest.approx(compute_expected(features, task, trials), abs=1e-3)
    assert score["valid"] is None
    (tmp_path / "trials.txt").write_text("\n".join(lines[:4]))
    with pytest.raises(ValueError, match="has changed since the study was planned"):
        score_probe(probe, features, task)
    assert probe.trials_digest != replace(probe, trials_digest=None).pin_files().trials_digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2.wav", "line 1: expected `1 PATH PATH`, got `1 2.wav`"),
        ("1 2.wav 5.wav\n2 2.wav 5.wav", "line 2: expected"),
        ("1 2.wav none.wav", "task `a` has no clip `none.wav`"),
        ("1 2.wav 11.wav", "the test clips of `a` have 1 pairs of one speaker and 0 of two"),
        (
            "1 2.wav 11.wav\n\n0 2.wav 3.wav\n1 0.wav 9.wav",
            r"line 3: `3.wav` is no test clip of task `a` \(trials with such clips: 2\); give",
        ),
        ("", "have 0 pairs of one speaker and 0 of two"),
    ],
)
def test_a_list_that_cannot_be_scored_is_an_error_before_training(task, tmp_path, text, message):
    (tmp_path / "trials.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        Verification(trials=str(tmp_path / "trials.txt")).check_task(task)


def test_trials_between_folds_are_not_compared(task, tmp_path):
    folded = replace(task, folded=True)
    pairs = [(2, 11, 1), (2, 5, 0), (0, 9, 1), (0, 3, 0), (1, 10, 1), (1, 4, 0), (2, 3, 0)]
    lines = [f"{same} {one}.wav {two}.wav" for one, two, same in pairs]
    (tmp_path / "trials.txt").write_text("\n".join(lines))
    Verification(trials=str(tmp_path / "trials.txt")).check_task(folded)


def test_a_missing_list_is_an_error():
    with pytest.raises(ValueError, match=r"`trials`: there is no file .*nowhere.txt"):
        Verification(trials="nowhere.txt").pin_files()


@pytest.mark.parametrize("settings", [{"metric": "accuracy"}, {"shots": 3}, {"label_share": 0.5}])
def test_settings_without_effect_are_errors(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        Verification(**settings)


def test_of_many_clips_the_same_ones_are_always_drawn(task):
    many = replace(task, labels=np.zeros(MAX_CLIPS + 50, dtype=np.int64))
    first, second = (pair_all(np.arange(MAX_CLIPS + 50), many) for _ in range(2))
    assert np.array_equal(first.first, second.first)
    assert len(first.same) == MAX_CLIPS * (MAX_CLIPS - 1) // 2
