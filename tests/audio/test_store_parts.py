"""A store that was decoded in parts, by several jobs, is the same as one that was not."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from ablate.audio.mel import LogMel
from ablate.audio.part_decoding import Part, PartCounts, decode_part
from ablate.audio.sources import Folder
from ablate.audio.store import get_store_paths, open_store
from ablate.audio.store_parts import LOCK, get_part_folder
from tests.audio.sounds import write_faulty_folder

NUM_PARTS = 3
TOTAL = PartCounts(num_decoded=8, num_bad=1)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Eight sounds of different lengths, one of them silent, with a broken and a missing file."""
    return write_faulty_folder(tmp_path_factory.mktemp("sounds"), num_sounds=8, faults_after=2)


@pytest.fixture(scope="module")
def alone(sounds: Folder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a store that was decoded at once."""
    return open_and_read(sounds, tmp_path_factory.mktemp("alone"))


def open_and_read(sounds: Folder, cache: Path) -> dict[str, bytes]:
    """Opens a store and returns the bytes of its files; fails if a part is left."""
    open_store(sounds, LogMel(), cache, probed=False)
    store = get_store(sounds, cache)
    assert not (store / "parts").exists()
    return {file.name: file.read_bytes() for file in store.iterdir() if file.name != LOCK}


def get_store(sounds: Folder, cache: Path) -> Path:
    return get_store_paths(sounds, LogMel(), cache)[0]


def decode(sounds: Folder, cache: Path, number: int) -> PartCounts:
    return decode_part(sounds, LogMel(), cache, Part(number, NUM_PARTS))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1,), ()])
def test_the_bytes_of_a_store_do_not_depend_on_its_parts(
    sounds: Folder, alone: dict[str, bytes], tmp_path: Path, order: tuple[int, ...]
) -> None:
    counts = [decode(sounds, tmp_path, number) for number in order]
    if len(order) == NUM_PARTS:
        assert tuple(map(sum, zip(*counts, strict=True))) == TOTAL
    assert open_and_read(sounds, tmp_path) == alone


def test_a_store_takes_clips_from_its_parts_without_decoding_them_again(
    sounds: Folder, alone: dict[str, bytes], tmp_path: Path
) -> None:
    decode_part(sounds, LogMel(), tmp_path, Part(0, 1))
    files = [file for file in Path(sounds.manifest).parent.glob("[0-9].wav")]
    contents = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    try:
        for file, (content, written_at) in contents.items():  # no sound, but with the same stamp
            file.write_bytes(bytes(len(content)))
            os.utime(file, ns=(written_at, written_at))
        assert open_and_read(sounds, tmp_path) == alone
    finally:
        for file, (content, written_at) in contents.items():
            file.write_bytes(content)
            os.utime(file, ns=(written_at, written_at))


def test_an_interrupted_part_continues_where_it_ended(
    sounds: Folder, alone: dict[str, bytes], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    part = Part(0, 1)
    with pytest.raises(KeyboardInterrupt):
        decode_part(sounds, LogMel(), tmp_path, part, progress=interrupt)
    left = decode_part(sounds, LogMel(), tmp_path, part)
    assert left == PartCounts(TOTAL.num_decoded - 2, TOTAL.num_bad)
    assert open_and_read(sounds, tmp_path) == alone


def test_parts_do_not_decode_what_the_store_or_another_part_has(
    sounds: Folder, tmp_path: Path
) -> None:
    for number in range(NUM_PARTS):
        decode(sounds, tmp_path, number)
    again = decode_part(sounds, LogMel(), tmp_path, Part(0, 1))
    assert again == PartCounts(0, TOTAL.num_bad)  # bad clips are tried again
    open_store(sounds, LogMel(), tmp_path, probed=False)
    assert decode(sounds, tmp_path, 1) == PartCounts(0, 0)


@pytest.mark.parametrize("name", ["frames", "journal"])
def test_a_clip_that_a_part_has_damaged_is_decoded_again(
    sounds: Folder, alone: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    decode(sounds, tmp_path, 1)
    file = get_part_folder(get_store(sounds, tmp_path), 1, NUM_PARTS) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert open_and_read(sounds, tmp_path) == alone


def test_a_clip_whose_part_has_lost_its_frames_is_decoded_again(
    sounds: Folder, alone: dict[str, bytes], tmp_path: Path
) -> None:
    decode(sounds, tmp_path, 1)
    (get_part_folder(get_store(sounds, tmp_path), 1, NUM_PARTS) / "frames").unlink()
    assert open_and_read(sounds, tmp_path) == alone


def test_a_part_that_is_being_written_is_kept(sounds: Folder, tmp_path: Path) -> None:
    decode(sounds, tmp_path, 0)
    folder = get_part_folder(get_store(sounds, tmp_path), 0, NUM_PARTS)
    with FileLock(folder / LOCK):
        open_store(sounds, LogMel(), tmp_path, probed=False)
    assert (folder / "journal").is_file()
