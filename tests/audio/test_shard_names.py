"""Split, fold and task are inferred from the names of shards and folders."""

from pathlib import Path

import pytest

from ablate.audio.tar_shards import TarShards, infer_split


@pytest.mark.parametrize(
    ("shard", "expected"),
    [
        ("train-000.tar", ("train", "")),
        ("wds-audio-valid-000000.tar", ("valid", "")),
        ("asvspoof_eval_0000000.tar", ("test", "")),
        ("unbal_train/000.tar", ("train", "")),
        ("eval/12.tar", ("test", "")),
        ("wds-audio-fold-3-000001.tar", ("", "3")),
        ("libricount_fold02.tar", ("", "2")),
        ("gtzan_fold_0_0000000.tar", ("", "0")),
        ("000.tar", ("", "")),
        ("test_of_mine/000.tar", ("", "")),
        ("trainers.tar", ("", "")),
        ("manifold-2.tar", ("", "")),
        ("train-manifold-2.tar", ("train", "")),
    ],
)
def test_the_split_is_inferred_from_names_of_shard_and_folders(
    tmp_path: Path, shard: str, expected: tuple[str, str]
) -> None:
    assert infer_split(tmp_path / "dev" / "set" / shard, tmp_path / "dev" / "set") == expected


def test_shards_without_a_split_in_their_names_are_named(tmp_path: Path) -> None:
    (tmp_path / "000.tar").touch()
    with pytest.raises(ValueError, match=r"contain no split: `000.tar`; .*set `split`"):
        TarShards(shards=str(tmp_path / "000.tar")).clips()


def test_shards_that_share_no_folder_but_the_root_need_a_task(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").touch()
    elsewhere = Path("/proc/self/root", *tmp_path.parts[1:])  # the same file, as on another disk
    with pytest.raises(ValueError, match=r"folder `/` is not usable as a task name; set `task`"):
        TarShards(shards=(str(tmp_path), str(elsewhere))).clips()


def test_shards_in_a_hidden_folder_need_a_task(tmp_path: Path) -> None:
    (tmp_path / ".tones").mkdir()
    (tmp_path / ".tones" / "train-0.tar").touch()
    with pytest.raises(ValueError, match=r"`.*/.tones` is not usable as a task name; set `task`"):
        TarShards(shards=str(tmp_path / ".tones")).clips()
