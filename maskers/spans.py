"""Span masking: hides runs of whole columns, at all frequencies. A grid of one column is refused.

`Spans`: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", NeurIPS 2020, sec. 3.1. https://arxiv.org/abs/2006.11477
(p 0.65, length 10). The masks of data2vec 2.0 are `CentredSpans`.
Unlike the reference code, unless `count: nominal`: the ratio is the share of hidden columns, though
spans overlap; the last column is hidden nearly as often as any other, and a span is at most half a
clip long. Unlike it in either case: no sample shows columns again until all clips of a device hide
as many as the one that hides fewest, which is `EqualCounts` with `surplus: show_random`.

`RandomSpans`: lengths as in Joshi et al., "SpanBERT", TACL 2020, sec. 3.1 (geometric of mean 5,
clipped at 10; https://arxiv.org/abs/1907.10529), or Poisson as in fairseq.

`SeparateSpans`: `no_overlap` of fairseq with `min_space`.
Unlike the reference code: all spans are placed at once, and not one by one in the remaining space;
they are placed on a ring, so that no column is closer to an end than any other.

`M2DSpans`: `random_1d` of https://github.com/nttcslab/m2d, patch_m2d.diff.
Unlike the reference code, unless `as_in_reference_code`: surplus columns are revealed at random and
not from the end of the clip, and the first columns are hidden nearly as often as any other.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, UnsupportedGridError
from maskers.geometry import ENDS, check_length, compute_arrival, fill_columns, show_rest
from maskers.sampling import check_ratio


@dataclass(frozen=True, kw_only=True)
class Spans(AbstractMasker):
    """Hides spans of one length, which may overlap and so form longer ones.

    Args:
        ratio: Share of a clip's columns hidden.
        length: Columns per span.
        count: `exact` hides the share `ratio`. `nominal` is the published draw: the number of spans
            is the ratio times the clip over the length, so that overlaps are lost (a ratio of 0.65
            hides 49 %), and the last column is never hidden.

    Example:
        masker: {type: maskers.Spans, ratio: 0.65, length: 10}
    """

    ratio: float = 0.65
    length: int = 10
    count: Literal["exact", "nominal"] = "exact"

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("length", self.length)

    @property
    def promises(self) -> Promises:
        if self.count == "exact":
            return Promises(context=(1 - self.ratio, 1 - self.ratio))
        return Promises(
            context=(0.0, 1.0),
            uneven=ENDS,
            unvisited="the published draw never hides the last column",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.columns
        if self.count == "nominal":
            times = draw_nominal_spans(columns, self.ratio, self.length, generator, last=False)
        else:
            shape = (batch, grid.time + self.length - 1)
            lengths = torch.full(shape, self.length)
            times = _choose_first_reached(lengths, columns, self.ratio, generator)
        return _hide(grid, times, valid, generator)


@dataclass(frozen=True, kw_only=True)
class RandomSpans(AbstractMasker):
    """Hides spans of random lengths, which may overlap, up to an exact number of columns.

    Args:
        ratio: Share of a clip's columns hidden.
        lengths: The distribution of lengths.
        mean: Mean length in columns, before lengths are limited to between 1 and `longest`.
        longest: Greatest length in columns.

    Example:
        masker: {type: maskers.RandomSpans, lengths: geometric, mean: 5, longest: 10}
    """

    ratio: float = 0.65
    lengths: Literal["poisson", "geometric"] = "poisson"
    mean: float = 10.0
    longest: int = 30

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("longest", self.longest)
        if not 1 <= self.mean <= self.longest:
            raise ValueError(f"`mean` must lie between 1 and `longest`; got {self.mean}")

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        shape = (batch, grid.time + self.longest - 1)
        if self.mean == 1 and self.lengths == "geometric":
            lengths = torch.ones(shape)  # torch does not accept a probability of 1
        elif self.lengths == "poisson":
            lengths = torch.poisson(torch.full(shape, float(self.mean)), generator=generator)
        else:
            lengths = torch.empty(shape).geometric_(1 / self.mean, generator=generator)
        lengths = lengths.clamp(1, self.longest)
        times = _choose_first_reached(lengths, clips.columns, self.ratio, generator)
        return _hide(grid, times, valid, generator)


@dataclass(frozen=True, kw_only=True)
class SeparateSpans(AbstractMasker):
    """Hides an exact number of columns, in spans of equal length that keep a gap.

    Lengths differ by at most one column. A span that reaches the end of a clip continues at its
    beginning.

    Args:
        ratio: Share of a clip's columns hidden.
        length: Columns per span at most, unless a short clip is too short for the gaps.
        gap: Least number of columns between two spans.

    Example:
        masker: {type: maskers.SeparateSpans, ratio: 0.65, length: 10, gap: 1}
    """

    ratio: float = 0.65
    length: int = 10
    gap: int = 1

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("length", self.length)
        check_length("gap", self.gap)
        most = self.length / (self.length + self.gap)
        if self.ratio > most:
            raise ValueError(
                f"spans of {self.length} with gaps of {self.gap} hide at most {most:.2f}; got "
                f"`ratio` {self.ratio}; lower it or `gap`, or raise `length`"
            )

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        columns = clips.num_columns
        number = round_share(columns, self.ratio).minimum(columns)
        times = _place_on_ring(columns, number, self.length, self.gap, grid.time, generator)
        return _hide(grid, times, valid, generator)


@dataclass(frozen=True, kw_only=True)
class M2DSpans(AbstractMasker):
    """Hides long spans until they cover too many columns, then reveals single ones of these.

    Args:
        ratio: Share of a clip's columns hidden.
        length: Columns per span; at most half the grid, unless `as_in_reference_code`.
        as_in_reference_code: As in the code of M2D, surplus columns are revealed at the end of the
            clip.

    Example:
        masker: {type: maskers.M2DSpans, ratio: 0.6, length: 20}
    """

    ratio: float = 0.6
    length: int = 20
    as_in_reference_code: bool = field(default=False, metadata={"named_before": "shipped"})

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("length", self.length)

    @property
    def promises(self) -> Promises:
        share = 1 - self.ratio
        if not self.as_in_reference_code:
            return Promises(context=(share, share))
        return Promises(
            context=(share, share),
            uneven="the first columns are in few spans, and the last are revealed",
            unvisited="the middle is in every span of half a clip or more",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.columns
        number = round_share(columns.sum(dim=1), self.ratio)
        length = self.length
        if not self.as_in_reference_code:
            length = min(length, max(1, grid.time // 2))
        keys = torch.rand((batch, grid.time + length - 1), generator=generator)
        if self.as_in_reference_code:
            keys[:, : length - 1] = 2.0  # no span begins before the clip
        arrival = compute_arrival(keys, length, grid.time).masked_fill(~columns, 2.0)
        last = arrival.sort(dim=1).values.gather(1, number.unsqueeze(1) - 1)
        covered = (arrival <= last) & columns
        keys = torch.rand(covered.shape, generator=generator)
        if self.as_in_reference_code:
            keys = torch.arange(grid.time, dtype=torch.float).expand(batch, -1)
        return _hide(grid, choose_lowest(number, keys, among=covered), valid, generator)


def draw_nominal_spans(
    columns: Tensor,
    ratio: float,
    length: int,
    generator: torch.Generator,
    *,
    last: bool = True,
    sets: tuple[int, ...] = (),
) -> Tensor:
    """Draws a nominal number of spans, with starts without replacement, bool (batch, *sets, time).

    Args:
        columns: Marks valid columns, bool (batch, time).
        ratio: The number of spans is `ratio` times the columns over `length`.
        length: Columns per span; at most a quarter of a clip if `last`.
        generator: The source of randomness.
        last: Whether a span may end with the last column. If not, as in fairseq.
        sets: Shape of the sets that are drawn for each clip.
    """
    size = columns.sum(dim=1).view(-1, *[1] * len(sets)).expand(-1, *sets)
    shape, places = size.shape, torch.arange(columns.shape[1])
    lengths = (size // 4).clamp(1, length) if last else torch.full(shape, length)
    spans = (ratio * size / lengths + torch.rand(shape, generator=generator)).long().clamp(min=1)
    starts = size - lengths + 1
    if not last:
        starts = torch.where(size - lengths > spans, size - lengths, spans + 1)
    starts = starts.clamp(min=1).minimum(size)
    among = places < starts.unsqueeze(-1)
    begun = choose(spans.minimum(starts), among=among, generator=generator).cumsum(dim=-1)
    before = places - lengths.unsqueeze(-1)
    ended = begun.gather(-1, before.clamp(min=0)).masked_fill(before < 0, 0)
    covered = begun > ended
    return covered if last else covered & (places < size.unsqueeze(-1))


def _choose_first_reached(
    lengths: Tensor, columns: Tensor, ratio: float, generator: torch.Generator
) -> Tensor:
    """Chooses the columns that the first spans cover; the last span may be cut on one side.

    `lengths` (batch, starts) are those of the spans from every start; see `compute_arrival`.
    """
    size = columns.sum(dim=1)
    lengths = lengths.minimum((size // 2).clamp(min=1).unsqueeze(1))
    keys = torch.rand(lengths.shape, generator=generator, dtype=torch.double)
    side = torch.randint(2, (len(columns), 1), generator=generator) * 2 - 1
    keys = compute_arrival(keys, lengths, columns.shape[1]) + 1e-9 * side * torch.arange(
        columns.shape[1]
    )
    return choose_lowest(round_share(size, ratio), keys, among=columns)


def _place_on_ring(
    columns: Tensor, number: Tensor, length: int, gap: int, time: int, generator: torch.Generator
) -> Tensor:
    """Places spans of `number` columns in total on rings of `columns`, bool (batch, time)."""
    num_visible = columns - number
    spans = ((number + length - 1) // length).minimum(num_visible // gap).clamp(min=1)
    slack = (num_visible - spans * gap).clamp(min=0)
    slots = torch.arange(time)  # each is a span or a free column; the first is a span
    among = (slots > 0) & (slots < (spans + slack).unsqueeze(1))
    begins = choose(spans - 1, among=among, generator=generator) | (slots == 0)
    order = begins.cumsum(dim=1) - 1  # index of the latest span
    base, longer = (number // spans).unsqueeze(1), (number % spans).unsqueeze(1)
    start = (slots - order) + order * (base + gap) + order.minimum(longer)
    width = base + (order < longer)
    offset = (torch.rand((len(columns), 1), generator=generator) * columns.unsqueeze(1)).long()
    edges = torch.zeros(len(columns), time + 1, dtype=torch.long)
    edges.scatter_add_(1, start.clamp(max=time), begins.long())
    edges.scatter_add_(1, (start + width).clamp(max=time), -begins.long())
    covered = edges.cumsum(dim=1)[:, :time] > 0
    rotated = (slots - offset) % columns.unsqueeze(1)
    return covered.gather(1, rotated) & (slots < columns.unsqueeze(1))


def _hide(grid: Grid, times: Tensor, valid: Tensor, generator: torch.Generator) -> Mask:
    """Hides whole columns (batch, time) as one target block."""
    if grid.time == 1:
        raise UnsupportedGridError(f"{grid} has one column, which no span of time can split")
    hidden = fill_columns(grid, times).unsqueeze(1)
    return show_rest(hidden & valid.unsqueeze(1), valid=valid, generator=generator)
