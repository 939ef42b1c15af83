"""The maskers of WavJEPA: several sets of spans of time, predicted from what is in none of them.

Yuksel et al., "WavJEPA: Semantic learning unlocks robust audio foundation models for raw
waveforms", 2025. https://arxiv.org/abs/2509.23238
https://github.com/labhamlet/wavjepa/blob/6f4e1b1/wavjepa/masking.py
Unlike the reference code: the last column is as likely as any other; a sample with too little
context is redrawn a few times, and then shows all that its first target sets leave, where the
reference redraws until it succeeds; a span is at most a quarter of a clip long. A grid of one
column is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.mask_sampling import leave_visible, round_share
from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Mask,
    Promises,
    UnsupportedGridError,
    check_range,
)
from maskers.composition import get_fallback
from maskers.geometry import ENDS, fill_columns, fill_empty
from maskers.sampling import check_ratio
from maskers.spans import draw_nominal_spans

REDRAWS = 20  # limit for samples with too little context


@dataclass(frozen=True, kw_only=True)
class WavJEPAInverse(AbstractMasker):
    """Hides several sets of spans, each a target, and further spans that are not predicted.

    Ratios are nominal, because overlaps are lost: on 200 columns a fifth is visible, two thirds are
    targets, and the rest is neither.

    Args:
        unseen_ratio: Nominal share of the columns removed from the context.
        unseen_length: Columns per removed span.
        num_targets: Number of target sets.
        target_ratio: Nominal share of the columns per target set.
        target_length: Columns per target span.
        min_context: Least share of a clip that must be visible.

    Example:
        masker: {type: maskers.WavJEPAInverse, num_targets: 4}
    """

    unseen_ratio: float = 0.65
    unseen_length: int = 10
    num_targets: int = 4
    target_ratio: float = 0.25
    target_length: int = 10
    min_context: float = 0.1

    def __post_init__(self) -> None:
        check_ratio(self.unseen_ratio)
        check_ratio(self.target_ratio)
        check_range("min_context", self.min_context, low=0, high=1)
        _check_counts(self.num_targets, self.unseen_length, self.target_length)

    @property
    def promises(self) -> Promises:
        return _promises(self.min_context, self.target_ratio)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        def draw_columns(columns: Tensor) -> tuple[Tensor, Tensor]:
            unseen = draw_nominal_spans(columns, self.unseen_ratio, self.unseen_length, generator)
            sets = draw_nominal_spans(
                columns, self.target_ratio, self.target_length, generator, sets=(self.num_targets,)
            )
            return columns & ~unseen & ~sets.any(dim=1), sets

        return _draw_until_enough(clips, draw_columns, self.min_context, generator)


@dataclass(frozen=True, kw_only=True)
class WavJEPASpeech(AbstractMasker):
    """Hides several sets of spans, each a target, and shows the long runs between them.

    Args:
        num_targets: Number of target sets.
        target_ratio: Nominal share of the columns per target set.
        target_length: Columns per target span.
        min_run: Least length of a visible run; shorter runs are neither context nor target.
        min_context: Least share of a clip that must be visible.

    Example:
        masker: {type: maskers.WavJEPASpeech, num_targets: 4}
    """

    num_targets: int = 4
    target_ratio: float = 0.1
    target_length: int = 10
    min_run: int = 5
    min_context: float = 0.5

    def __post_init__(self) -> None:
        check_ratio(self.target_ratio)
        check_range("min_context", self.min_context, low=0, high=1)
        _check_counts(self.num_targets, self.target_length, self.min_run)

    @property
    def promises(self) -> Promises:
        return _promises(self.min_context, self.target_ratio)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        def draw_columns(columns: Tensor) -> tuple[Tensor, Tensor]:
            sets = draw_nominal_spans(
                columns, self.target_ratio, self.target_length, generator, sets=(self.num_targets,)
            )
            left = columns & ~sets.any(dim=1)
            return left & (_compute_run_lengths(left) >= self.min_run), sets

        return _draw_until_enough(clips, draw_columns, self.min_context, generator)


def _promises(min_context: float, target_ratio: float) -> Promises:
    """Declares that one set hides at most half a clip, or twice its ratio if it has two spans."""
    least = max(0.0, min(min_context, 0.5, 1 - 2 * target_ratio))
    return Promises(context=(least, 1.0), uneven=ENDS)


def _draw_until_enough(
    clips: Clips,
    draw_columns: Callable[[Tensor], tuple[Tensor, Tensor]],
    min_context: float,
    generator: torch.Generator,
) -> Mask:
    """Draws context and sets of target spans until enough context is left."""
    grid, valid = clips.grid, clips.valid
    if grid.time == 1:
        raise UnsupportedGridError(f"{grid} has one column, which no span of time can split")
    columns = clips.columns
    least = (columns.sum(dim=1) * min_context).clamp(min=1)
    visible, sets = draw_columns(columns)
    pending = torch.arange(len(valid))
    drawn = visible
    for _ in range(REDRAWS):
        pending = pending[drawn.sum(dim=1) < least[pending]]
        if len(pending) == 0:
            break
        drawn, drawn_sets = draw_columns(columns[pending])
        visible[pending], sets[pending] = drawn, drawn_sets
    context, targets = fill_columns(grid, visible) & valid, fill_columns(grid, sets)
    targets &= valid.unsqueeze(1)
    if len(pending):
        kept = leave_visible(
            valid[pending],
            targets[pending],
            valid=valid[pending],
            least=round_share(valid[pending].sum(dim=1), min_context),
            generator=generator,
        )
        context[pending], targets[pending] = kept.context, kept.targets
    mask = fill_empty(context, targets, valid=valid, generator=generator)
    return Mask(mask.context, mask.targets, get_fallback(mask).index_fill(0, pending, 1))


def _compute_run_lengths(marked: Tensor) -> Tensor:
    """Computes the length of the run of marked columns around each column, 0 if unmarked."""
    places = torch.arange(marked.shape[1]).expand(marked.shape)
    before = places.masked_fill(marked, -1).cummax(dim=1).values
    after = places.masked_fill(marked, marked.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return (after - before - 1) * marked


def _check_counts(sets: int, *lengths: int) -> None:
    if min(sets, *lengths) < 1:
        raise ValueError(
            f"`num_targets` and lengths must be at least 1; got {sets} and {list(lengths)}"
        )
