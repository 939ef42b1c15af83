"""Labels that cannot be probed and clips in two splits are rejected."""

import pytest

from ablate.audio.clips import ClipInfo
from ablate.audio.labels import check_labels


def clip(path: str, label: str, split: str = "", fold: str = "", task: str = "pets") -> ClipInfo:
    return ClipInfo(path=path, label=label, task=task, split=split, fold=fold)


def pets(task: str, *splits: str) -> list[ClipInfo]:
    """Two cats and two dogs, each with a split or, if it is a number, a fold."""
    return [
        clip(f"{number}.wav", ("cat", "dog")[number % 2], task=task, **{kind: split})
        for number, split in enumerate(splits)
        for kind in ["fold" if split.isdigit() else "split"]
    ]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "no clip"),
        (
            [clip("a", "cat", "train"), clip("b", "cat", "test"), clip("c", "dog", "train")],
            "`dog` of task `pets` has only one clip",
        ),
        (
            [clip("a", "cat", "test"), clip("b", "cat", "test")],
            "`cat` of task `pets` has no clip with split `train`",
        ),
        ([clip("a", "cat", "train"), clip("b", "cat", "train")], "no clip with split `test`"),
        (
            [clip("a", "cat", fold="1"), clip("b", "cat", fold="1")],
            "`cat` of task `pets` has clips in fold `1` only",
        ),
        (
            [clip("a", "cat", "train"), clip("b", "cat", fold="1")],
            "a `split` for some clips and a `fold`",
        ),
        (
            [clip("a", "cat", "train"), clip("b", "cat", "test")],
            r"`pets` has one label only \(`cat`\).*add clips of another label",
        ),
        (
            [clip("a", "cat", fold="1"), clip("b", "cat", fold="2")],
            r"`pets` has one label only \(`cat`\)",
        ),
    ],
)
def test_labels_that_cannot_be_probed_are_named(clips: list[ClipInfo], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_labels(clips)


def test_labels_in_several_folds_or_in_both_splits_are_fine() -> None:
    check_labels(pets("pets", "1", "1", "2", "2"))
    check_labels(pets("pets", "train", "train", "test", "test"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            ("test", "train", "train", "test"),
            "`0.wav` has split `train` in task `one` but split `test` in task `two`; give it",
        ),
        (
            ("train", "train", "test", "valid", "x", "test"),
            "`3.wav` has split `test` in task `one` but split `valid` in task `two`",
        ),
        (
            ("1", "1", "2", "2"),
            "`2.wav` has split `test` in task `one` but a fold in task `two`",
        ),
    ],
)
def test_a_clip_that_is_tested_on_in_one_task_and_not_in_another_is_rejected(
    other: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_labels(pets("one", "train", "train", "test", "test") + pets("two", *other))


def test_a_clip_may_have_one_split_or_any_folds_in_several_tasks() -> None:
    splits = ("train", "train", "test", "test")
    check_labels(pets("one", *splits) + pets("two", *splits))
    check_labels(pets("one", "1", "1", "2", "2") + pets("two", "2", "2", "3", "3"))


def test_each_class_of_a_multi_label_task_is_checked() -> None:
    clips = [
        clip("a", "cat;dog", "train"),
        clip("b", "dog;cow", "train"),
        clip("c", "-", "test"),
        clip("d", "cow", "test"),
        clip("e", "cat", "test"),
    ]
    check_labels(clips)
    with pytest.raises(ValueError, match="label `hen` of task `pets` has only one clip"):
        check_labels([*clips, clip("f", "hen;cat", "train")])


def test_an_event_without_times_is_named() -> None:
    clips = [clip("a", "cat@0-1", "train"), clip("b", "cat", "test")]
    with pytest.raises(ValueError, match="task `pets`: `cat` has no times"):
        check_labels(clips)
