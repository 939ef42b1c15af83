"""Tests `check_source`: sources with one fault are found, correct ones are not."""

from dataclasses import dataclass

import numpy as np
import pytest

from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.source import AbstractSource
from ablate.audio.sources import BadAudioError
from ablate.audio.synthetic import Synthetic
from ablate.audio.waveform_stream import SamplesInMemory
from ablate.testing import check_source

CALLS = {"count": 0, "read": 0}
KEPT = np.zeros(100, dtype=np.float32)


def test_our_source_passes():
    check_source(Synthetic(clips_per_class=1), max_clips=3)


@dataclass(frozen=True, kw_only=True)
class FaultySource(AbstractSource):
    """Four short clips, with one fault."""

    fault: str = "none"

    def clips(self):
        CALLS["count"] += 1
        name = f"{CALLS['count']}" if self.fault == "another list" else ""
        split = {"no split": "", "unknown split": "dev"}.get(self.fault, "train")
        fold = "1" if self.fault == "split and fold" else ""
        count = 0 if self.fault == "no clips" else 4
        if self.fault == "list of what was read":
            count += CALLS["read"]
        return ClipTable.from_clips(
            ClipInfo(f"{name}{i}", str(i % 2), task="t", split=split, fold=fold)
            for i in range(count)
        )

    def read(self, index):
        CALLS["count"] += 1
        CALLS["read"] = 1
        samples = np.full(100, index, dtype=np.float32)
        if self.fault == "one sound":
            samples = np.ones(100, dtype=np.float32)
        rate = 16000
        match self.fault:
            case "nothing readable":
                raise BadAudioError((str(index), "is broken"))
            case "integers":
                samples = (samples + 1) * 20000
            case "double":
                samples = samples.astype(np.float64)
            case "stereo":
                samples = np.stack([samples, samples])
            case "empty":
                samples = samples[:0]
            case "not finite":
                samples[0] = np.inf
            case "float rate":
                rate = 16000.0
            case "random":
                samples += CALLS["count"] % 50
            case "global generator":
                np.random.rand()
            case "shared array":
                return KEPT, rate
        return samples, rate

    @property
    def list_version(self):
        CALLS["count"] += 1
        return str(CALLS["count"]) if self.fault == "another version" else "1"

    def content_digest(self, index):
        if self.fault == "one digest":
            return "0"
        if self.fault == "long digest":
            return "0" * 65
        return super().content_digest(index)

    def stream(self, index):
        samples, rate = self.read(index)
        return SamplesInMemory(samples[:-1] if self.fault == "short stream" else samples, rate)

    def stamp(self, index):
        CALLS["count"] += 1
        if self.fault == "time as stamp":
            return str(CALLS["count"])
        return 3.5 if self.fault == "number as stamp" else "unchanged"


def test_a_source_without_a_fault_passes():
    check_source(FaultySource())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no clips", "no clips are listed"),
        ("another list", "lists something else"),
        ("no split", "set one of them"),
        ("split and fold", "set one of them"),
        ("unknown split", "has split 'dev'"),
        ("nothing readable", "none of the clips can be read"),
        ("double", "not float32"),
        ("stereo", "not one channel"),
        ("empty", "has no samples"),
        ("not finite", "is not finite"),
        ("float rate", "not a positive integer"),
        ("random", "changes from call to call"),
        ("global generator", "numpy's generator was used"),
        ("shared array", "read differently each time"),
        ("another version", "`list_version` changes"),
        ("long digest", "at most 64 characters"),
        ("number as stamp", "is not text"),
        ("time as stamp", "changes while the clip does not"),
        ("one sound", "sound the same"),
        ("one digest", "clips of different sound have one"),
        ("integers", "scale integers"),
        ("short stream", "has other samples than `read`"),
        ("list of what was read", "after clips were read"),
    ],
)
def test_a_fault_is_an_error(fault, message):
    CALLS["read"] = 0
    with pytest.raises(AssertionError, match=message):
        check_source(FaultySource(fault=fault))
