"""The columns `start` and `end` cut clips out of files; `channel` chooses what is read of them."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.decoding import Channel, EncodedAudio
from ablate.audio.mel import LogMel
from ablate.audio.segments import Segment
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from tests.audio.sounds import create_tone, encode, write_clip

RATE = 16000
LONG = create_tone(6.0, RATE)
ENCODED = {name: encode(name, LONG) for name in ("wav", "flac", "ogg", "mp3")}


def write_manifest(folder: Path, *rows: str, header: str = "path,label,split,start,end") -> Folder:
    (folder / "m.csv").write_text("\n".join([header, *rows]) + "\n")
    return Folder(manifest=str(folder / "m.csv"))


@pytest.mark.parametrize("name", ENCODED)
@given(start=st.floats(0, 5.5), length=st.floats(0.1, 6))
def test_a_segment_is_a_slice_of_the_file(name: str, start: float, length: float) -> None:
    def open_file() -> io.BytesIO:
        return io.BytesIO(ENCODED[name])

    complete = EncodedAudio(open_file, "clip").read()
    segment = Segment(start, min(start + length, 6.0))
    samples = EncodedAudio(open_file, "clip", segment=segment).read()
    first, last = round(segment.start * RATE), round(segment.stop * RATE)
    np.testing.assert_array_equal(samples, complete[first:last])


def test_segments_of_one_file_are_clips_of_their_own(tmp_path: Path) -> None:
    write_clip(tmp_path, "x.wav", LONG)
    write_clip(tmp_path, "y.wav", LONG[::-1].copy())
    rows = [f"x.wav,{'ab'[n % 2]},train,{n},{n + 1}" for n in range(4)]
    rows += ["y.wav,a,test,0,1.5", "y.wav,b,test,1.5,", "y.wav,b,valid,,"]
    source = write_manifest(tmp_path, *rows)
    store = open_store(source, LogMel(), tmp_path / "cache")
    assert store.lengths.tolist() == [100, 100, 100, 100, 150, 450, 600]
    assert store.clips.paths[4] == "y.wav#t=0,1.5"
    assert len({source.content_digest(index) for index in range(7)}) == 7
    complete = store.frames(6)
    assert np.abs(store.frames(4)[5:-5] - complete[5:145]).mean() < 0.01


def test_onset_and_offset_cut_too(tmp_path: Path) -> None:
    write_clip(tmp_path, "x.wav", LONG)
    source = write_manifest(tmp_path, "x.wav,a,train,1,2", header="path,label,split,onset,offset")
    assert len(source.read(0)[0]) == RATE


def test_a_hash_in_a_file_name_is_no_segment(tmp_path: Path) -> None:
    write_clip(tmp_path, "x#t=1,2.wav", LONG)
    source = write_manifest(tmp_path, '"x#t=1,2.wav",a,train', header="path,label,split")
    assert len(source.read(0)[0]) == len(LONG)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("5,7", r"`x\.wav#t=5,7`: ends after 6\.00 s, before the segment's end at 7 s"),
        ("6.5,7", r"ends after 6\.00 s, before the segment's end at 7 s"),
        ("6.5,", r"ends before the segment that starts at 6\.5 s"),
    ],
)
def test_a_segment_behind_the_end_is_named(tmp_path: Path, times: str, message: str) -> None:
    write_clip(tmp_path, "x.wav", LONG)
    source = write_manifest(tmp_path, f"x.wav,a,train,{times}")
    with pytest.raises(BadAudioError, match=message):
        source.read(0)


CHANNELS = {"mean": 0.2, "left": 0.1, "first": 0.1, "right": 0.3, "max_energy": 0.3}


@pytest.mark.parametrize(("channel", "level"), CHANNELS.items())
def test_one_channel_is_chosen(tmp_path: Path, channel: Channel, level: float) -> None:
    tone = create_tone(1.0, RATE)
    write_clip(tmp_path, "x.wav", np.stack([0.1 * tone, 0.3 * tone], axis=1))
    write_manifest(tmp_path, "x.wav,a,train", header="path,label,split")
    source = Folder(manifest=str(tmp_path / "m.csv"), channel=channel)
    np.testing.assert_allclose(source.read(0)[0], level * tone, atol=1e-4)


def test_channels_have_digests_of_their_own_and_the_mean_that_of_the_file(tmp_path: Path) -> None:
    write_clip(tmp_path, "x.wav", np.stack([LONG, 0.5 * LONG], axis=1))
    write_manifest(tmp_path, "x.wav,a,train", header="path,label,split")
    sources = [Folder(manifest=str(tmp_path / "m.csv"), channel=name) for name in CHANNELS]
    assert len({source.content_digest(0) for source in sources}) == len(CHANNELS)


def test_clips_whose_channels_cancel_out_are_listed(tmp_path: Path) -> None:
    tone = create_tone(0.5, RATE)
    noise = create_tone(0.5, RATE, hertz=700, seed=1)
    for name, second in (("same", tone), ("opposite", -tone), ("weaker", -0.9 * tone)):
        write_clip(tmp_path, f"{name}.wav", np.stack([tone, second], axis=1))
    write_clip(tmp_path, "other.wav", np.stack([tone, noise], axis=1))
    write_clip(tmp_path, "mono.wav", tone)
    names = ("same", "opposite", "weaker", "other", "mono")
    rows = [
        f"{name}.wav,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i, name in enumerate(names)
    ]
    source = write_manifest(tmp_path, *rows, header="path,label,split")
    store = open_store(source, LogMel(), tmp_path / "cache", probed=False)
    assert store.cancelled == ("opposite.wav", "weaker.wav")
    assert store.silent == ("opposite.wav",)
    left = Folder(manifest=str(tmp_path / "m.csv"), channel="left")
    assert open_store(left, LogMel(), tmp_path / "cache", probed=False).cancelled == ()


def test_a_loud_clip_of_one_channel_is_read_in_one_pass(tmp_path: Path) -> None:
    file = write_clip(tmp_path, "x.wav", LONG)
    np.testing.assert_array_equal(
        EncodedAudio(lambda: file.open("rb"), "x", channel="max_energy").read(),
        soundfile.read(file, dtype="float32")[0],
    )
