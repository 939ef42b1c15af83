"""Files are decoded to their true end, whatever length their header announces."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.byte_views import ByteView
from ablate.audio.decoding import EncodedAudio, find_problem
from tests.audio.sounds import FORMATS, add_id3_picture, create_tone, encode, remove_mp3_length

RATES = {"mp3": 44100, "opus": 48000}
COMPLETE_FILES = {
    name: encode(name, create_tone(1.5, RATES.get(name, 16000)), RATES.get(name, 16000))
    for name in FORMATS
}


def open_bytes(content: bytes) -> EncodedAudio:
    return EncodedAudio(lambda: io.BytesIO(content), "clip")


def find_problem_of(content: bytes, folder: Path) -> str:
    (folder / "clip").write_bytes(content)
    return find_problem(folder / "clip")


@pytest.mark.parametrize("name", FORMATS)
def test_a_complete_file_gives_the_samples_of_a_plain_decoder(name: str, tmp_path: Path) -> None:
    expected, rate = soundfile.read(io.BytesIO(COMPLETE_FILES[name]), dtype="float32")
    clip = open_bytes(COMPLETE_FILES[name])
    np.testing.assert_array_equal(clip.read(), expected)
    assert (clip.sample_rate, clip.is_corrected) == (rate, False)
    assert find_problem_of(COMPLETE_FILES[name], tmp_path) == ""


@pytest.mark.parametrize("name", FORMATS)
@given(share=st.floats(0.2, 0.98))
def test_a_file_that_breaks_off_is_an_error(
    name: str, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = COMPLETE_FILES[name][: round(share * len(COMPLETE_FILES[name]))]
    with pytest.raises(BadAudioError, match="`clip`: "):
        open_bytes(content).read()
    assert find_problem_of(content, tmp_path_factory.getbasetemp())


def _replace(content: bytes, chunk: bytes, offset: int, value: bytes) -> bytes:
    place = content.index(chunk) + offset
    return content[:place] + value + content[place + len(value) :]


def _pack(name: str, content: bytes, value: int) -> bytes:
    """Sets the length of the sound in the header of a file."""
    match name:
        case "wav":
            return _replace(content, b"data", 4, struct.pack("<I", value))
        case "aiff":
            return _replace(content, b"SSND", 4, struct.pack(">I", value))
        case "au":
            return _replace(content, b".snd", 8, struct.pack(">I", value))
        case "caf":
            return _replace(content, b"data", 4, struct.pack(">q", value))
        case "w64":
            return _replace(content, b"data\xf3", 16, struct.pack("<Q", value))
        case "rf64":
            return _replace(content, b"ds64", 16, struct.pack("<Q", value))
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("wav", value) for value in (0, 2**32 - 1, 2**31, 0x7FFFF000, 2**31 - 1, 2**32 - 37)),
        *(("aiff", value) for value in (0, 8, 2**32 - 1, 0x7F000000)),
        *(("au", value) for value in (0, 2**32 - 1, 2**31 - 1)),
        *(("caf", value) for value in (0, -1)),
        *(("w64", value) for value in (0, 24, 2**64 - 1)),
        *(("rf64", value) for value in (0, 2**64 - 1)),
        *(("wav", value) for value in (1000, 20000)),  # less than there is
    ],
)
def test_a_header_that_a_pipe_left_open_does_not_cut_the_sound(
    name: str, value: int, tmp_path: Path
) -> None:
    content = _pack(name, COMPLETE_FILES[name], value)
    expected = soundfile.read(io.BytesIO(COMPLETE_FILES[name]), dtype="float32")[0]
    np.testing.assert_array_equal(open_bytes(content).read(), expected)
    assert find_problem_of(content, tmp_path) == ""


@pytest.mark.parametrize("announced", [0, 1, 9000, 23999])
def test_a_flac_is_read_to_its_end_whatever_it_announces(announced: int, tmp_path: Path) -> None:
    content = bytearray(COMPLETE_FILES["flac"])
    content[21:26] = (announced | (content[21] & 0xF0) << 32).to_bytes(5, "big")
    clip = open_bytes(bytes(content))
    assert len(clip.read()) == 24000
    if announced:
        assert clip.is_corrected
    else:
        assert find_problem_of(bytes(content), tmp_path) == ""
        assert find_problem_of(bytes(content[:-3000]), tmp_path)


def _encode_mp3(mode: str, rate: int = 44100) -> bytes:
    file = io.BytesIO()
    soundfile.write(
        file,
        create_tone(3.0, rate),
        rate,
        format="MP3",
        bitrate_mode=mode,
        compression_level=0.5,
    )
    return file.getvalue()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("change", [bytes, lambda content: add_id3_picture(content, 40_000)])
def test_an_mp3_without_a_length_is_read_to_its_end(
    mode: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = change(remove_mp3_length(_encode_mp3(mode)))
    clip = open_bytes(content)
    assert len(clip.read()) == 116 * 1152
    assert find_problem_of(content, tmp_path) == ""


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_the_sound_of_an_mp3_without_a_length_is_not_shifted(mode: str) -> None:
    content = _encode_mp3(mode)
    expected = open_bytes(content).read()
    samples = open_bytes(remove_mp3_length(content)).read()
    delay = len(samples) - len(expected)  # the encoder's, which the removed frame told
    shifts = [float(np.dot(samples[i : i + 40_000], expected[:40_000])) for i in range(delay)]
    assert abs(int(np.argmax(shifts)) - 1105) <= 1  # 576 of LAME and 529 of the decoder


def test_two_mp3s_in_one_file_are_both_read() -> None:
    content = _encode_mp3("VARIABLE")
    assert len(open_bytes(content + content).read()) > 1.95 * 3 * 44100


@pytest.mark.parametrize("name", ["ogg", "opus"])
def test_two_ogg_streams_in_one_file_are_both_read(name: str, tmp_path: Path) -> None:
    clip = open_bytes(2 * COMPLETE_FILES[name])
    once = open_bytes(COMPLETE_FILES[name]).read()
    np.testing.assert_array_equal(clip.read(), np.tile(once, 2))
    assert clip.is_corrected
    assert find_problem_of(2 * COMPLETE_FILES[name], tmp_path) == ""


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_a_tag_behind_the_sound_is_no_damage(name: str, tmp_path: Path) -> None:
    content = COMPLETE_FILES[name] + b"TAG" + b"title".ljust(125, b"\0")
    expected = open_bytes(COMPLETE_FILES[name]).read()
    np.testing.assert_array_equal(open_bytes(content).read(), expected)
    assert find_problem_of(content, tmp_path) == ""


@pytest.mark.parametrize("content", [b"", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff\xfb\x90\x64"])
def test_a_file_without_sound_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadAudioError, match="`clip`: "):
        open_bytes(content).read()
    assert find_problem_of(content, tmp_path)


@given(content=st.binary(max_size=400), magic=st.sampled_from([b"RIFF", b"ID3", b"NIST_1A\n", b""]))
def test_no_bytes_raise_anything_but_the_error_of_their_file(content: bytes, magic: bytes) -> None:
    with pytest.raises(BadAudioError, match="`clip`: "):
        open_bytes(magic + content).read()


@given(
    content=st.binary(max_size=60),
    start=st.integers(0, 30),
    length=st.integers(0, 40),
    prefix=st.binary(max_size=9),
    offset=st.integers(0, 50),
    patch=st.binary(max_size=9),
    reads=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 30)), max_size=5),
)
def test_a_view_equals_the_bytes_it_stands_for(
    content: bytes,
    start: int,
    length: int,
    prefix: bytes,
    offset: int,
    patch: bytes,
    reads: list[tuple[int, int]],
) -> None:
    patched = bytearray(content)
    for place, byte in enumerate(patch, start=offset):
        if place < len(patched):
            patched[place] = byte
    stop = min(len(content), start + length)
    expected = prefix + bytes(patched[start:stop])
    view = ByteView(io.BytesIO(content), start, stop, prefix=prefix, patches={offset: patch})
    for place, size in reads:
        view.seek(place)
        assert view.read(size) == expected[place : place + size]
    view.seek(0)
    assert view.read() == expected
