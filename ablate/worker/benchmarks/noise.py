"""Batches of noise for benchmarks: they cost what batches of a clip store cost."""

import numpy as np
import torch

from ablate.audio.loader import Batch, Normaliser, stack_crops
from ablate.core.random import generator
from ablate.worker.trial import Trial


class NoiseBatches:
    """A source of batches of noise, stored and stacked as the clips of a store are."""

    def __init__(self, trial: Trial) -> None:
        shape = (trial.budget.batch, trial.crop_frames, trial.mel.bands)
        self._clips = torch.randn(shape, generator=generator(0, "noise")).half().numpy()
        zero, one = (fill(trial.mel.bands, np.float32) for fill in (np.zeros, np.ones))
        self._normaliser = Normaliser(zero, one)

    def batch(self, step: int, size: int) -> Batch:
        """Returns the same `size` clips at every step, without padding."""
        clips = [self._clips[index % len(self._clips)] for index in range(size)]
        return stack_crops(clips, self._clips.shape[1], self._normaliser)

    def paths(self, step: int, size: int) -> list[str]:
        """Returns a placeholder for the path of each clip."""
        return ["noise"] * size
