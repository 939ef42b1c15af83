"""Reads the clips of published datasets from the folders and tables that they are distributed in.

Each layout is a function of a `FolderScan`. It returns one row per clip, with the columns `path`,
`label`, `split` (empty if the dataset has none) or `fold`, and others of the dataset; `group`
names the speaker or recording, which must not be in two splits.
"""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ablate.audio.audioset_layout import read_audioset
from ablate.audio.folder_scan import FolderScan
from ablate.audio.layout_rows import LayoutRows, Row, create_labels, read_lines, read_table
from ablate.audio.splits import parse_split


@dataclass(frozen=True)
class DatasetLayout:
    """How a dataset is laid out on disk."""

    read: Callable[[FolderScan], LayoutRows]
    tree: str  # what the folder looks like


def _read_esc50(scan: FolderScan) -> LayoutRows:
    """`meta/esc50.csv` and `audio/`, in five folds. https://github.com/karolpiczak/ESC-50"""
    rows = [
        {
            "path": f"audio/{line['filename']}",
            "label": line["category"],
            "fold": line["fold"],
            "esc10": line["esc10"],
        }
        for line in read_table(scan.folder / "meta" / "esc50.csv")
    ]
    return LayoutRows(rows)


def _read_urbansound8k(scan: FolderScan) -> LayoutRows:
    """`metadata/UrbanSound8K.csv` and `audio/fold1..10/`. https://urbansounddataset.weebly.com"""
    rows = [
        {
            "path": f"audio/fold{line['fold']}/{line['slice_file_name']}",
            "label": line["class"],
            "fold": line["fold"],
            "group": line["fsID"],
        }
        for line in read_table(scan.folder / "metadata" / "UrbanSound8K.csv")
    ]
    return LayoutRows(rows)


def _read_nsynth(scan: FolderScan) -> LayoutRows:
    """`nsynth-{train,valid,test}/examples.json` and `audio/`; labels are instrument families.

    https://magenta.tensorflow.org/datasets/nsynth
    """
    folders = {split: scan.folder / f"nsynth-{split}" for split in ("train", "valid", "test")}
    present = {split: folder for split, folder in folders.items() if folder.is_dir()}
    if not present:
        raise ValueError(f"`{folders['train']}` is missing")
    rows = []
    for split, folder in present.items():
        notes = json.loads("\n".join(read_lines(folder / "examples.json")))
        rows += [
            {
                "path": f"nsynth-{split}/audio/{name}.wav",
                "label": note["instrument_family_str"],
                "split": split,
                "group": note["instrument_str"],
                "source": note["instrument_source_str"],
                "pitch": str(note["pitch"]),
            }
            for name, note in notes.items()
        ]
    return LayoutRows(rows)


def _read_gtzan(scan: FolderScan) -> LayoutRows:
    """`GENRE/GENRE.00000.wav`, in any folder. https://www.kaggle.com/datasets/andradaolteanu"""
    name = re.compile(r"(?:^|/)([a-z]+)/\1\.\d{5}\.\w+$")
    return _match_files(scan, name, lambda match: {"label": match[1], "split": ""})


def _read_vocalsound(scan: FolderScan) -> LayoutRows:
    """`audio_16k/SPEAKER_N_LABEL.wav` and `meta/{tr,val,te}_meta.csv`, which list speakers.

    https://github.com/YuanGongND/vocalsound
    """
    splits = {
        line.split(",")[0].strip(): parse_split(word)
        for word in ("tr", "val", "te")
        for line in read_lines(scan.folder / "meta" / f"{word}_meta.csv")
    }
    name = re.compile(r"(?:^|/)([fm]\d+)_\d+_([a-z]+)\.\w+$")
    return _match_files(
        scan,
        name,
        lambda match: {"label": match[2], "split": splits[match[1]], "group": match[1]},
        is_listed=lambda match: match[1] in splits,
    )


_CREMA_D = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}


def _read_crema_d(scan: FolderScan) -> LayoutRows:
    """`AudioWAV/ACTOR_SENTENCE_EMOTION_LEVEL.wav`. https://github.com/CheyneyComputerScience/CREMA-D

    There are no splits; the clips of an actor stay together.
    """
    name = re.compile(rf"(?:^|/)(\d{{4}})_([A-Z]{{3}})_({'|'.join(_CREMA_D)})_(\w\w)\.\w+$")
    return _match_files(
        scan,
        name,
        lambda match: {
            "label": _CREMA_D[match[3]],
            "split": "",
            "group": match[1],
            "sentence": match[2],
            "level": match[4],
        },
    )


def _read_fma(scan: FolderScan) -> LayoutRows:
    """`fma_small/000/000002.mp3` and `fma_metadata/tracks.csv`. https://github.com/mdeff/fma

    Labels are the top genres. The clips of an artist are in one split.
    """
    places = (scan.folder / "fma_metadata", scan.folder.parent / "fma_metadata", scan.folder)
    table = next((p / "tracks.csv" for p in places if (p / "tracks.csv").is_file()), None)
    lines = csv.reader(read_lines(table or places[0] / "tracks.csv"))
    header = list(zip(next(lines), next(lines), strict=True))
    columns = [header.index(name) for name in (("set", "split"), ("track", "genre_top"))]
    artist = header.index(("artist", "id")) if ("artist", "id") in header else None
    tracks = {line[0]: line for line in lines if line and line[0].isdigit()}
    result = LayoutRows()
    without_genre = 0
    for file in scan.files:
        line = tracks.get(str(int(file.stem)) if file.stem.isdigit() else "")
        if line is None:
            continue
        split, genre = (line[column] for column in columns)
        if not genre:
            without_genre += 1
            continue
        row = {"path": file.as_posix(), "label": genre, "split": parse_split(split)}
        result.rows.append(row | ({} if artist is None else {"group": line[artist]}))
    if without_genre:
        result.notes.append(f"{without_genre} clips have no top genre")
    return result


def _read_voxceleb(scan: FolderScan) -> LayoutRows:
    """`SPEAKER/VIDEO/00001.wav`, and VoxCeleb1's `iden_split.txt` if it is there.

    https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ Labels are speakers. Without the list the clips
    of a video stay together.
    """
    lists = [file for file in scan.folder.rglob("iden_split.txt") if file.is_file()]
    words = {"1": "train", "2": "valid", "3": "test"}
    splits = {
        name: words[number]
        for line in (read_lines(lists[0]) if lists else ())
        if len(parts := line.split()) == 2 and parts[0] in words
        for number, name in [parts]
    }
    name = re.compile(r"(?:^|/)(id\d{5})/([^/]{11}|\d+)/[^/]+$")

    def get_key(match: re.Match[str]) -> str:
        return match[0].lstrip("/")

    return _match_files(
        scan,
        name,
        lambda match: {
            "label": match[1],
            "split": splits.get(get_key(match), ""),
            "group": f"{match[1]}/{match[2]}",
        },
        is_listed=lambda match: not splits or get_key(match) in splits,
    )


def _read_speech_commands(scan: FolderScan) -> LayoutRows:
    """`word/clip.wav` and two lists of clips. https://arxiv.org/abs/1804.03209"""
    valid = set(read_lines(scan.folder / "validation_list.txt"))
    test = set(read_lines(scan.folder / "testing_list.txt"))

    def get_split(path: str) -> str:
        return "valid" if path in valid else "test" if path in test else "train"

    name = re.compile(r"^(?!_)([^/]+)/([^/]+?)(?:_nohash_\d+)?\.\w+$")
    return _match_files(
        scan,
        name,
        lambda match: {"label": match[1], "split": get_split(match[0]), "group": match[2]},
    )


def _read_fsd50k(scan: FolderScan) -> LayoutRows:
    """`FSD50K.ground_truth/{dev,eval}.csv`. https://zenodo.org/records/4060432

    Clips have several labels, the most specific one first. That one is also written to a column of
    its own: `label: first_label` makes a single-label task.
    """
    truth = scan.folder / "FSD50K.ground_truth"
    rows = []
    for part in ("dev", "eval"):
        for line in read_table(truth / f"{part}.csv"):
            split = parse_split(line["split"]) if part == "dev" else "test"
            path = f"FSD50K.{part}_audio/{line['fname']}.wav"
            rows.append({"path": path, **create_labels(line["labels"].split(",")), "split": split})
    return LayoutRows(rows)


def _match_files(
    scan: FolderScan,
    name: re.Pattern[str],
    create: Callable[[re.Match[str]], Row],
    *,
    is_listed: Callable[[re.Match[str]], bool] = lambda match: True,
) -> LayoutRows:
    """Creates a row for every file whose path matches."""
    result = LayoutRows()
    for file in scan.files:
        match = name.search(file.as_posix())
        if match and is_listed(match):
            result.rows.append({"path": file.as_posix(), **create(match)})
    return result


DATASETS: dict[str, DatasetLayout] = {
    "esc50": DatasetLayout(_read_esc50, "meta/esc50.csv, audio/1-100032-A-0.wav"),
    "urbansound8k": DatasetLayout(
        _read_urbansound8k, "metadata/UrbanSound8K.csv, audio/fold1/101415-3-0-2.wav"
    ),
    "nsynth": DatasetLayout(
        _read_nsynth, "nsynth-train/examples.json, nsynth-train/audio/bass_acoustic_000-024-025.wav"
    ),
    "gtzan": DatasetLayout(_read_gtzan, "genres_original/blues/blues.00000.wav"),
    "vocalsound": DatasetLayout(_read_vocalsound, "meta/tr_meta.csv, audio_16k/f0003_0_cough.wav"),
    "crema_d": DatasetLayout(_read_crema_d, "AudioWAV/1001_DFA_ANG_XX.wav"),
    "fma": DatasetLayout(_read_fma, "fma_metadata/tracks.csv, fma_small/000/000002.mp3"),
    "voxceleb": DatasetLayout(_read_voxceleb, "iden_split.txt, wav/id10001/1zcIwhmdeo4/00001.wav"),
    "speech_commands": DatasetLayout(
        _read_speech_commands, "validation_list.txt, testing_list.txt, yes/0a7c2a8d_nohash_0.wav"
    ),
    "fsd50k": DatasetLayout(
        _read_fsd50k, "FSD50K.ground_truth/dev.csv, FSD50K.dev_audio/64760.wav"
    ),
    "audioset": DatasetLayout(
        read_audioset,
        "class_labels_indices.csv, balanced_train_segments.csv, any/folder/YVIDEO_30.000.wav",
    ),
}


def recognise(scan: FolderScan) -> str:
    """Returns the name of the dataset that a folder holds, by its tables; empty if unknown."""
    signs = {
        "esc50": "meta/esc50.csv",
        "urbansound8k": "metadata/UrbanSound8K.csv",
        "nsynth": "nsynth-*/examples.json",
        "vocalsound": "meta/tr_meta.csv",
        "fma": "fma_metadata/tracks.csv",
        "speech_commands": "testing_list.txt",
        "fsd50k": "FSD50K.ground_truth",
        "audioset": "class_labels_indices.csv",
    }
    return next((name for name, sign in signs.items() if any(scan.folder.glob(sign))), "")
