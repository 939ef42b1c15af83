"""Verification: whether two clips are of one speaker, or of one class, by the cosine of features.

Nagrani et al., "VoxCeleb: a large-scale speaker identification dataset", Interspeech 2017, sec. 5.
https://arxiv.org/abs/1706.08612; a task of SUPERB (https://arxiv.org/abs/2105.01051), which trains
x-vectors first. Here nothing is trained: the frozen features are compared.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ablate.audio.annotations import LabelKind
from ablate.audio.data_folder import find_data_path
from ablate.core.random import generator
from ablate.parts import AS_BEFORE, replace_settings
from ablate.probing.metrics import Scores, equal_error_rate
from ablate.probing.probe import AbstractProbe, Features, Matrix, ProbeData
from ablate.probing.scoring import standardise
from ablate.probing.tasks import Indices, Split, Task

MAX_CLIPS = 2000  # without a list of trials; they make two million pairs
_PAIRS_AT_ONCE = 65536


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips to compare."""

    first: Indices  # (pairs,), positions in the task
    second: Indices  # (pairs,)
    same: npt.NDArray[np.bool_]  # (pairs,), whether both are of one speaker

    def within(self, clips: Indices) -> "Pairs":
        """Returns the pairs of which both clips are among `clips`."""
        chosen = np.isin(self.first, clips) & np.isin(self.second, clips)
        return Pairs(self.first[chosen], self.second[chosen], self.same[chosen])


@dataclass(frozen=True, kw_only=True)
class Verification(AbstractProbe):
    """Compares pairs of test clips by the cosine of their features; its score is 100 - EER.

    The equal error rate is that of accepting pairs above a threshold. Features are standardised by
    the training clips, as for other probes.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: `eer` or unset, which is the same.
        shots: Not used by this probe, which trains nothing.
        label_share: Not used by this probe, which trains nothing.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        trials: File with one pair per line, as VoxCeleb has it: 1 (same) or 0, then the paths of
            two test clips as in the manifest, separated by spaces, or by tabs if paths have spaces.
            If unset, all pairs of test clips, which are of one speaker if they have one label; of
            more than 2000 test clips, so many are drawn.
        trials_digest: Set when a study is planned, not by the user.

    Example:
        probes: {speakers: {type: ablate.probing.verification.Verification,
          trials: voxceleb/veri_test2.txt,
          tasks: {type: ablate.audio.sources.Folder, manifest: voxceleb/manifest.csv}}}
    """

    kinds: ClassVar[frozenset[LabelKind]] = frozenset({"single"})
    headline: ClassVar[str | None] = "eer"
    predicts: ClassVar[bool] = False

    trials: str | None = None
    trials_digest: str | None = field(default=None, metadata={AS_BEFORE: None})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric not in (None, "eer"):
            raise ValueError(f"`metric` must be eer for this probe; got {self.metric}")
        if self.shots is not None or self.label_share is not None:
            raise ValueError("`shots` and `label_share` have no effect: nothing is trained")

    def predict(self, data: ProbeData) -> Scores:
        raise NotImplementedError("pairs are compared, not predicted; see `score_split`")

    @property
    def scores_validation(self) -> bool:
        """Whether it scores validation clips, too; a list of trials is for test clips."""
        return self.trials is None

    def pin_files(self) -> "Verification":
        if self.trials is None:
            return self
        return replace_settings(self, trials_digest=_compute_digest(find_data_path(self.trials)))

    def check_task(self, task: Task) -> None:
        for split in task.splits():
            for part, clips in split.query.items():
                if part != "valid" or self.scores_validation:
                    check_pairs(self._list_pairs(task, clips), f"{part} clips of `{task.name}`")

    def score_split(
        self, features: Features, task: Task, split: Split, seed: int
    ) -> dict[str, dict[str, float]]:
        rows = standardise(features.rows, features.get_rows(split.train))
        metrics: dict[str, dict[str, float]] = {}
        for part, clips in split.query.items():
            if part == "valid" and not self.scores_validation:
                continue
            pairs = self._list_pairs(task, clips)
            check_pairs(pairs, f"{part} clips of `{task.name}`")
            metrics[part] = {"eer": equal_error_rate(compute_cosines(rows, pairs), pairs.same)}
        return metrics

    def _list_pairs(self, task: Task, clips: Indices) -> Pairs:
        if self.trials is None:
            return pair_all(clips, task)
        file = find_data_path(self.trials)
        if self.trials_digest not in (None, _compute_digest(file)):
            raise ValueError(f"`{file}` has changed since the study was planned; plan it again")
        return read_trials(file, task).within(clips)


def _compute_digest(file: Path) -> str:
    """Hashes a list of trials to 16 hex digits. Raises `ValueError` if there is none."""
    if not file.is_file():
        raise ValueError(f"`trials`: there is no file `{file}`")
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def pair_all(clips: Indices, task: Task) -> Pairs:
    """Pairs all clips with each other; of too many, `MAX_CLIPS` are drawn."""
    order = torch.randperm(len(clips), generator=generator(0, "verification", task.name)).numpy()
    drawn = np.sort(clips[order[:MAX_CLIPS]])
    first, second = (drawn[places] for places in np.triu_indices(len(drawn), k=1))
    return Pairs(first, second, task.labels[first] == task.labels[second])


def read_trials(file: Path, task: Task) -> Pairs:
    """Reads a list of trials.

    Raises `ValueError` for a line that is no trial, or names a clip that the task does not have or,
    without folds, does not test on.
    """
    paths = task.paths
    assert paths is not None, "tasks of a store have paths"
    places = {paths[int(clip)]: place for place, clip in enumerate(task.clips)}
    rows, numbers = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) != 3 or parts[0] not in ("0", "1"):
            raise ValueError(f"{file}, line {number}: expected `1 PATH PATH`, got `{line}`")
        if missing := [path for path in parts[1:] if path not in places]:
            raise ValueError(
                f"{file}, line {number}: task `{task.name}` has no clip `{missing[0]}`; write "
                "paths as in the manifest"
            )
        rows.append((places[parts[1]], places[parts[2]], parts[0] == "1"))
        numbers.append(number)
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    if not task.folded:
        _check_are_tests(columns[:2], numbers, file, task)
    return Pairs(columns[0], columns[1], columns[2].astype(np.bool_))


def _check_are_tests(clips: Indices, numbers: list[int], file: Path, task: Task) -> None:
    """Raises `ValueError` if a trial, a column of (2, trials), names another than a test clip."""
    is_other = ~np.isin(clips, task.parts["test"])
    others = np.flatnonzero(is_other.any(axis=0))
    if len(others):
        first = int(others[0])
        clip = int(clips[int(is_other[:, first].argmax()), first])
        assert task.paths is not None, "tasks of a store have paths"
        raise ValueError(
            f"{file}, line {numbers[first]}: `{task.paths[int(task.clips[clip])]}` is no test clip "
            f"of task `{task.name}` (trials with such clips: {len(others)}); give these clips the "
            "split `test` in the manifest, or remove the trials"
        )


def check_pairs(pairs: Pairs, where: str) -> None:
    """Raises `ValueError` unless there are pairs of one speaker and pairs of two."""
    if not pairs.same.any() or pairs.same.all():
        raise ValueError(
            f"the {where} have {int(pairs.same.sum())} pairs of one speaker and "
            f"{int((~pairs.same).sum())} of two; both are needed"
        )


def compute_cosines(rows: Matrix, pairs: Pairs) -> Scores:
    """Computes the cosine of the features, (clips, dim), of each pair; 0 for a vector of zeros."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(norms > 0, norms, 1.0)
    cosines = np.empty(len(pairs.same), dtype=np.float32)
    for start in range(0, len(cosines), _PAIRS_AT_ONCE):
        piece = slice(start, start + _PAIRS_AT_ONCE)
        cosines[piece] = (units[pairs.first[piece]] * units[pairs.second[piece]]).sum(axis=1)
    return cosines
