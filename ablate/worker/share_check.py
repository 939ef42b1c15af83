"""Compares the first masks of a training with those that its plan drew."""

import math

from ablate.mask_analysis.expected_shares import compute_expected_shares
from ablate.training.metrics import TrainingMetrics
from ablate.worker.audio_data import AudioData
from ablate.worker.audio_fit import count_valid_columns
from ablate.worker.trial import Trial

TOLERANCE = 0.02  # absolute error of a share of the patches
REPORTS = 3  # reports of metrics that are compared
_CERTAINTY = 3  # standard errors of the realised share


class ShareCheck:
    """Warns once if the realised shares of the first steps are not those that were planned."""

    def __init__(self, trial: Trial, audio: AudioData) -> None:
        self._trial, self._columns = trial, count_valid_columns(audio, trial)
        self._last_step = 0
        self._num_reports = 0

    def find_warning(self, metrics: TrainingMetrics) -> str:
        """Compares the steps since the last report; returns a warning, or an empty text."""
        first, self._last_step = self._last_step, metrics.step
        self._num_reports += 1
        if self._num_reports > REPORTS:
            return ""
        trial = self._trial
        progress = (first + metrics.step) / 2 / trial.budget.steps
        planned = compute_expected_shares(
            trial.masker, trial.grid, trial.batching, trial.budget.batch, self._columns, progress
        )
        masks = (metrics.step - first) * trial.budget.batch * trial.masker.promises.copies
        differences = [
            f"{name} {realised:.1%} of the patches instead of {share.mean:.1%}"
            for name, realised, share in (
                ("context", metrics.context_fraction, planned.context),
                ("targets", metrics.target_fraction, planned.targets),
            )
            if abs(realised - share.mean) > TOLERANCE + _CERTAINTY * share.std / math.sqrt(masks)
        ]
        if not differences:
            return ""
        self._num_reports = REPORTS
        return f"masks differ from those of the plan: {', '.join(differences)}"
