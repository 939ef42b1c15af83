"""The audio of a trial: its clips with their tasks and normalisation, opened once per process."""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ablate.audio.front_end import AbstractFrontEnd, Normalisation
from ablate.audio.loader import Loader, Normaliser
from ablate.audio.source import AbstractSource
from ablate.audio.statistics import load_or_compute_statistics
from ablate.audio.store import ClipStore, open_store
from ablate.model.patchify import AbstractPatchifier
from ablate.probing.tasks import Indices, Task, find_tasks, select_pretraining_clips
from ablate.worker.trial import Trial

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AudioData:
    """The clips of a source as log-mels, with their tasks and normalisation."""

    store: ClipStore
    hop_seconds: float  # from one frame to the next
    normalisation: Normalisation = "bands"
    pretrained_on: "AudioData | None" = None  # its statistics are used if clips are only probed

    @cached_property
    def train(self) -> Indices:
        """Indices of the pre-training clips in the store."""
        return select_pretraining_clips(self.store.clips)

    @cached_property
    def normaliser(self) -> Normaliser:
        """Mean and standard deviation of the pre-training clips, as the front end wants them."""
        if self.pretrained_on is not None:
            return self.pretrained_on.normaliser
        return load_or_compute_statistics(self.store, self.train, self.normalisation)

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks of the clips, sorted by name."""
        return find_tasks(self.store.clips)

    def find_too_short(
        self, patchifier: AbstractPatchifier, crop_frames: int, bands: int
    ) -> Indices:
        """Returns the pre-training clips with fewer than two patches: context and target."""
        # bisection, since longer clips have no fewer patches: all lengths at once would take
        # gigabytes for waveforms
        frames = torch.arange(crop_frames).unsqueeze(0)
        min_frames = bisect.bisect_left(
            range(crop_frames + 1), 2, key=lambda n: int(patchifier.valid(frames < n, bands).sum())
        )
        lengths = np.minimum(self.store.lengths[self.train], crop_frames)
        too_short: Indices = self.train[lengths < min_frames]
        return too_short

    def build_loader(self, trial: Trial) -> Loader:
        """Builds the loader of a trial. Raises `ValueError` if all clips are too short.

        The order of clips is drawn before the short ones are skipped, so that trials whose
        patchifiers skip different clips see the others in the same order.
        """
        too_short = self.find_too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
        if len(too_short) == len(self.train):
            raise ValueError("no pre-training clip is two patches long; use narrower patches")
        return Loader(
            self.store,
            self.train,
            trial.crop_frames,
            self.normaliser,
            trial.get_seed("order"),
            skip=too_short,
        )


_open: dict[tuple[AbstractSource, AbstractFrontEnd, Path], AudioData] = {}


def open_audio(
    data: AbstractSource,
    mel: AbstractFrontEnd,
    cache: Path,
    progress: Progress | None = None,
    *,
    check_files: bool = True,
    probed: bool = True,
) -> AudioData:
    """Opens the clips of a source, and decodes those that are not in the cache.

    A source is opened once per process and front end.

    Args:
        data: the source of the clips.
        mel: the front end.
        cache: the folder of decoded clips.
        progress: called with the number of decoded clips and of all clips.
        check_files: whether to check the audio files for changes. Runs of a validated plan do not:
            their clips are decoded already, so the files are no longer needed.
        probed: whether the clips need labels; those that are only pre-trained on do not.

    Raises:
        ValueError: the source or a label cannot be used; see `open_store`.
    """
    key = (data, mel, cache)
    if key not in _open:
        store = open_store(
            data, mel, cache, check_files=check_files, probed=probed, progress=progress
        )
        _open[key] = AudioData(store, mel.hop_seconds, mel.normalisation)
    if probed and _open[key].store.label_problems:
        raise ValueError(_open[key].store.label_problems)
    return _open[key]
