"""Synthetic audio files, whole and broken, made by code."""

import io
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.audio.sources import Folder

FORMATS = {  # name -> format and subtype of libsndfile
    "wav": ("WAV", "PCM_16"),
    "wavex": ("WAVEX", "PCM_24"),
    "float": ("WAV", "FLOAT"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "ULAW"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def create_tone(
    seconds: float = 0.6, rate: int = 16000, hertz: float = 440.0, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Returns a sine with noise, (samples,)."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    time = np.arange(len(noise)) / rate
    tone: npt.NDArray[np.float32] = 0.3 * np.sin(2 * np.pi * hertz * time) + 0.05 * noise
    return tone.astype(np.float32)


def encode(name: str, samples: npt.NDArray[np.float32], rate: int = 16000) -> bytes:
    """Encodes samples, (samples,) or (samples, channels), in one of `FORMATS`."""
    kind, subtype = FORMATS[name]
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def write_clip(
    folder: Path, path: str, samples: npt.NDArray[np.float32], rate: int = 16000
) -> Path:
    """Writes a WAV file below a folder."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, rate, format="WAV")
    return file


def remove_mp3_length(content: bytes) -> bytes:
    """Removes the frame of an MP3 that announces its length, as old encoders write none."""
    kbits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    size = 144 * 1000 * kbits[content[2] >> 4] // 44100 + (content[2] >> 1 & 1)
    return content[size:]


def add_id3_picture(content: bytes, size: int) -> bytes:
    """Puts an ID3 tag with a picture of `size` bytes in front of an MP3 or FLAC."""
    picture = b"\xff\xd8" + bytes(size)
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + length + frame + content


def write_faulty_folder(folder: Path, *, num_sounds: int, faults_after: int) -> Folder:
    """Writes sounds of different lengths, of which the fourth is silent, and their manifest.

    After `faults_after` sounds it also lists a broken and a missing file, which are skipped.
    """
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40000)
    rows = []
    for number in range(num_sounds):
        samples = noise[: 8000 + 3000 * number] * (number != 3)
        soundfile.write(folder / f"{number}.wav", samples, 16000)
        rows.append(f"{number}.wav,{'ab'[number % 2]},train")
    (folder / "broken.wav").write_bytes(b"RIFF and nothing else")
    rows[faults_after:faults_after] = ["broken.wav,a,train", "missing.wav,b,train"]
    (folder / "manifest.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    return Folder(manifest=str(folder / "manifest.csv"), on_bad_audio="skip")
