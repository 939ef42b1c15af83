"""The synthetic corpus: labelled, varied, and the same on every run."""

import itertools

import numpy as np
import pytest
import torch

from ablate.audio.labels import check_labels
from ablate.audio.mel import LogMel
from ablate.audio.synthetic import Synthetic


def test_three_tasks_have_ten_classes_each(small: Synthetic) -> None:
    pairs = {(clip.task, clip.label) for clip in small.clips()}
    by_task = {task: sum(t == task for t, _ in pairs) for task, _ in pairs}
    assert by_task == {"speech": 10, "music": 10, "environment": 10}


def test_every_class_has_its_share_of_every_split() -> None:
    clips = Synthetic(clips_per_class=3, valid_per_class=2, test_per_class=1).clips()
    check_labels(clips)
    counts = {
        split: sum(clip.split == split for clip in clips) for split in ("train", "valid", "test")
    }
    assert counts == {"train": 90, "valid": 60, "test": 30}


def test_a_clip_is_finite_and_audible_and_does_not_clip(small: Synthetic) -> None:
    for index in range(len(small.clips())):
        samples, rate = small.read(index)
        assert (str(samples.dtype), samples.shape, rate) == ("float32", (20480,), 16000)
        assert 0.05 < np.abs(samples).max() < 1.0


def test_a_clip_does_not_depend_on_what_was_made_before(small: Synthetic) -> None:
    late = small.read(7)[0]
    fresh = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
    fresh.read(99)
    assert np.array_equal(fresh.read(7)[0], late)


def test_a_clip_does_not_depend_on_the_number_of_clips(small: Synthetic) -> None:
    larger = Synthetic(clips_per_class=9)
    at = {clip.path: index for index, clip in enumerate(larger.clips())}
    for index in (0, 2, 57, 119):
        path = small.clips()[index].path
        assert np.array_equal(larger.read(at[path])[0], small.read(index)[0])


def test_no_two_clips_are_alike(small: Synthetic) -> None:
    sounds = [small.read(index)[0].tobytes() for index in range(len(small.clips()))]
    assert len(set(sounds)) == len(sounds)


def test_another_seed_makes_another_corpus(small: Synthetic) -> None:
    other = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1, seed=1)
    assert not np.array_equal(other.read(0)[0], small.read(0)[0])
    assert other.content_digest(0) != small.content_digest(0)


def test_content_digests_differ(small: Synthetic) -> None:
    longer = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1, seconds=2.0)
    digests = [s.content_digest(i) for s in (small, longer) for i in range(len(small.clips()))]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(("seconds", "rate"), [(1.0, 16000), (3.0, 44100)])
def test_length_and_rate_can_be_chosen(seconds: float, rate: int) -> None:
    corpus = Synthetic(clips_per_class=1, seconds=seconds, sample_rate=rate)
    for index in range(0, len(corpus.clips()), 61):
        samples, actual = corpus.read(index)
        assert (len(samples), actual) == (round(seconds * rate), rate)
        assert np.isfinite(samples).all()


def nearest_neighbour_accuracy(corpus: Synthetic, task: str) -> float:
    """Scores mel statistics with one nearest neighbour, train against test."""
    front_end = LogMel()
    features: dict[str, list[tuple[torch.Tensor, str]]] = {"train": [], "test": []}
    for index, clip in enumerate(corpus.clips()):
        if clip.task == task and clip.split in features:
            samples, rate = corpus.read(index)
            frames = front_end(torch.from_numpy(samples), rate)
            statistics = torch.cat([frames.mean(dim=0), frames.std(dim=0)])
            features[clip.split].append((statistics, clip.label))
    train = torch.stack([feature for feature, _ in features["train"]])
    hits = [
        features["train"][int((train - feature).norm(dim=1).argmin())][1] == label
        for feature, label in features["test"]
    ]
    return 100.0 * sum(hits) / len(hits)


@pytest.mark.parametrize(
    ("task", "low", "high"), [("speech", 15, 60), ("music", 15, 60), ("environment", 40, 90)]
)
def test_a_task_is_neither_impossible_nor_trivial(task: str, low: float, high: float) -> None:
    corpus = Synthetic(clips_per_class=20, valid_per_class=1, test_per_class=10)
    assert low < nearest_neighbour_accuracy(corpus, task) < high


@pytest.mark.parametrize(
    "settings",
    [{"clips_per_class": 0}, {"test_per_class": 0}, {"seconds": 0.5}, {"sample_rate": 8000}],
)
def test_invalid_settings_are_rejected_by_name(settings: dict[str, float]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
        Synthetic(**settings)  # type: ignore[arg-type]


def test_reversed_twins_have_the_same_statistics() -> None:
    corpus = Synthetic(clips_per_class=20)
    front_end, means = LogMel(), {}
    for label in ("rising-chirps", "falling-chirps", "rain"):
        chosen = (
            i for i, c in enumerate(corpus.clips()) if c.label == label and c.split == "train"
        )
        frames = [
            front_end(torch.from_numpy(corpus.read(i)[0]), 16000).mean(dim=0)
            for i in itertools.islice(chosen, 20)
        ]
        means[label] = torch.stack(frames).mean(dim=0)
    twins = (means["rising-chirps"] - means["falling-chirps"]).norm()
    assert twins < 0.5 * (means["rising-chirps"] - means["rain"]).norm()
