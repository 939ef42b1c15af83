"""Published datasets are read as they are distributed; what is left out is named."""

import csv
import json
from pathlib import Path

import pytest

from ablate.audio.clips import ClipInfo
from ablate.audio.manifest_writer import ManifestResult, write_manifest
from ablate.audio.sources import Folder


def create_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_table(file: Path, *rows: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows) + "\n")


def read_clips(result: ManifestResult) -> dict[str, ClipInfo]:
    return {clip.path: clip for clip in Folder(manifest=str(result.path)).clips()}


def get_labels(clips: dict[str, ClipInfo]) -> dict[str, tuple[str, str]]:
    return {path: (clip.label, clip.split or clip.fold) for path, clip in clips.items()}


def test_urbansound8k_has_ten_folds(tmp_path: Path) -> None:
    write_table(
        tmp_path / "metadata/UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,10,2,children_playing",
    )
    create_files(tmp_path, "audio/fold5/100032-3-0-0.wav", "audio/fold10/100263-2-0-117.wav")
    clips = read_clips(write_manifest(tmp_path, "urbansound8k"))
    assert get_labels(clips) == {
        "audio/fold5/100032-3-0-0.wav": ("dog_bark", "5"),
        "audio/fold10/100263-2-0-117.wav": ("children_playing", "10"),
    }
    assert clips["audio/fold5/100032-3-0-0.wav"].extra == {"group": "100032"}


def test_nsynth_has_three_splits_of_instrument_families(tmp_path: Path) -> None:
    for split, name in (
        ("train", "bass_acoustic_000-024-025"),
        ("test", "flute_synthetic_001-060-075"),
    ):
        note = {
            "instrument_family_str": name.split("_")[0],
            "instrument_source_str": name.split("_")[1],
            "instrument_str": name.split("-")[0],
            "pitch": int(name.split("-")[1]),
        }
        create_files(tmp_path, f"nsynth-{split}/audio/{name}.wav")
        (tmp_path / f"nsynth-{split}/examples.json").write_text(json.dumps({name: note}))
    clips = read_clips(write_manifest(tmp_path, "nsynth"))
    assert get_labels(clips) == {
        "nsynth-train/audio/bass_acoustic_000-024-025.wav": ("bass", "train"),
        "nsynth-test/audio/flute_synthetic_001-060-075.wav": ("flute", "test"),
    }


@pytest.mark.parametrize("top", ["", "Data/genres_original/", "genres/"])
def test_gtzan_is_read_from_any_folder(tmp_path: Path, top: str) -> None:
    names = [f"{top}{g}/{g}.{n:05}.au" for g in ("blues", "jazz") for n in range(5)]
    create_files(tmp_path, *names, f"{top}readme.wav")
    result = write_manifest(tmp_path, "gtzan")
    assert {clip.label for clip in read_clips(result).values()} == {"blues", "jazz"}
    assert any("1 audio files are not among the dataset's clips" in note for note in result.notes)


def test_vocalsound_has_splits_of_speakers(tmp_path: Path) -> None:
    for word, speaker in (("tr", "f0003"), ("val", "m0020"), ("te", "f0100")):
        write_table(tmp_path / f"meta/{word}_meta.csv", f"{speaker},female,26,US,English,no")
    create_files(
        tmp_path,
        "audio_16k/f0003_0_cough.wav",
        "audio_16k/m0020_0_throatclearing.wav",
        "audio_16k/f0100_0_sigh.wav",
    )
    assert get_labels(read_clips(write_manifest(tmp_path, "vocalsound"))) == {
        "audio_16k/f0003_0_cough.wav": ("cough", "train"),
        "audio_16k/m0020_0_throatclearing.wav": ("throatclearing", "valid"),
        "audio_16k/f0100_0_sigh.wav": ("sigh", "test"),
    }


def test_crema_d_keeps_the_clips_of_an_actor_together(tmp_path: Path) -> None:
    create_files(
        tmp_path,
        *(f"AudioWAV/{a}_IEO_{e}_HI.wav" for a in range(1001, 1021) for e in ("ANG", "SAD")),
    )
    clips = read_clips(write_manifest(tmp_path, "crema_d"))
    assert {clip.label for clip in clips.values()} == {"anger", "sadness"}
    assert {clip.split for clip in clips.values()} == {"train", "valid", "test"}
    pairs = {(clip.extra["group"], clip.split) for clip in clips.values()}
    assert len(pairs) == 20


def test_fma_takes_genres_and_splits_from_its_tracks(tmp_path: Path) -> None:
    table = tmp_path / "fma_metadata/tracks.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["", "artist", "set", "set", "track"],
                ["", "id", "split", "subset", "genre_top"],
                ["track_id", "", "", "", ""],
                ["2", "1", "training", "small", "Hip-Hop"],
                ["5", "1", "test", "small", "Folk"],
                ["9", "2", "validation", "small", ""],
            ]
        )
    create_files(tmp_path, *(f"fma_small/000/{n:06}.mp3" for n in (2, 5, 9, 77)))
    result = write_manifest(tmp_path, "fma")
    assert get_labels(read_clips(result)) == {
        "fma_small/000/000002.mp3": ("Hip-Hop", "train"),
        "fma_small/000/000005.mp3": ("Folk", "test"),
    }
    assert "1 clips have no top genre" in result.notes


def test_voxceleb_takes_splits_from_its_list(tmp_path: Path) -> None:
    write_table(
        tmp_path / "iden_split.txt",
        "1 id10001/1zcIwhmdeo4/00001.wav",
        "3 id10002/0_laIeN-Q44/00001.wav",
    )
    create_files(tmp_path, "wav/id10001/1zcIwhmdeo4/00001.wav", "wav/id10002/0_laIeN-Q44/00001.wav")
    assert get_labels(read_clips(write_manifest(tmp_path, "voxceleb"))) == {
        "wav/id10001/1zcIwhmdeo4/00001.wav": ("id10001", "train"),
        "wav/id10002/0_laIeN-Q44/00001.wav": ("id10002", "test"),
    }


def test_voxceleb_without_a_list_keeps_the_clips_of_a_video_together(tmp_path: Path) -> None:
    create_files(
        tmp_path,
        *(
            f"id1000{s}/video{v:06}/0000{n}.wav"
            for s in range(2)
            for v in range(9)
            for n in range(3)
        ),
    )
    clips = read_clips(write_manifest(tmp_path, "voxceleb"))
    assert len({(clip.extra["group"], clip.split) for clip in clips.values()}) == 18
    assert {clip.split for clip in clips.values()} == {"train", "valid", "test"}


@pytest.mark.parametrize(
    "name",
    [
        "{id}",
        "Y{id}",
        "{id}_{s:.3f}",
        "{id}_{s:.3f}_{e:.3f}",
        "Y{id}_{ms}_{mse}",
        "{id}_{s:.0f}_{e:.0f}",
        "{id}_{s:06.0f}",
        "{id}-{s:.0f}-{e:.0f}",
    ],
)
@pytest.mark.parametrize("video", ["--PJHxphWEs", "Yabc_-12345", "0123456789_"])
def test_audioset_files_may_have_start_and_end_in_their_names(
    tmp_path: Path, name: str, video: str
) -> None:
    write_table(tmp_path / "class_labels_indices.csv", "index,mid,display_name", '0,/m/1,"Speech"')
    write_table(
        tmp_path / "balanced_train_segments.csv",
        "# YTID, start_seconds, end_seconds, positive_labels",
        f'{video}, 30.000, 40.000, "/m/1"',
        'gone_000000, 0.000, 10.000, "/m/1"',
    )
    stem = name.format(id=video, s=30.0, e=40.0, ms=30000, mse=40000)
    create_files(tmp_path, f"clips/{stem}.flac", "clips/elsewhere.wav")
    result = write_manifest(tmp_path, "audioset")
    assert get_labels(read_clips(result)) == {f"clips/{stem}.flac": ("Speech", "train")}
    assert "1 segments of the lists have no file" in result.notes
    assert any(note.startswith("1 audio files are not among") for note in result.notes)
