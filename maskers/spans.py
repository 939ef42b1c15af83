"""Spans of time: runs of whole columns are hidden, at all frequencies; one column is refused.

`Spans`: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", NeurIPS 2020, sec. 3.1. https://arxiv.org/abs/2006.11477
(p .65, length 10; data2vec 2.0 p .5, length 5; https://arxiv.org/abs/2212.07525)
Unlike the reference code, unless `count: nominal`: so many columns are hidden as the ratio says,
though spans overlap, the last column is hidden nearly as often as any other, and a span is at most
half a clip long. Unlike it in either case: no sample is cut to the fewest hidden columns of its
batch, which is the trainer's `batching`.

`RandomSpans`: lengths as in Joshi et al., "SpanBERT", TACL 2020, sec. 3.1 (geometric of mean 5,
clipped at 10; https://arxiv.org/abs/1907.10529), or Poisson as in fairseq.

`SeparateSpans`: fairseq's `no_overlap` with `min_space`.
Unlike the reference code: spans are placed all at once, and not one by one in what is left; they
lie on a ring, so that no column is nearer to an end than any other.

`M2DSpans`: `random_1d` of https://github.com/nttcslab/m2d, patch_m2d.diff.
Unlike the reference code, unless `as_in_reference_code`: what is too much is revealed at random and
not from
the end of the clip, and the first columns are hidden nearly as often as any other.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, GridRefusedError, Mask, Promises
from maskers.geometry import ENDS, check_length, compute_arrival, fill_columns, show_rest
from maskers.sampling import check_ratio


@dataclass(frozen=True, kw_only=True)
class Spans(AbstractMasker):
    """Hides spans of one length, which may overlap and so form longer ones.

    `count: nominal` is the published draw: the number of spans is the ratio times the clip over
    the length, so that overlaps are lost (ratio .65 hides 49 %), and the last column stays.
    """

    ratio: float = 0.65  # share of a clip's columns
    length: int = 10  # columns
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
    """Hides spans of random lengths, which may overlap, up to an exact number of columns."""

    ratio: float = 0.65  # share of a clip's columns
    lengths: Literal["poisson", "geometric"] = "poisson"
    mean: float = 10.0  # columns, before lengths are held between 1 and `longest`
    longest: int = 30  # columns

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
            lengths = torch.ones(shape)  # the first try succeeds: torch draws below certainty only
        elif self.lengths == "poisson":
            lengths = torch.poisson(torch.full(shape, float(self.mean)), generator=generator)
        else:
            lengths = torch.empty(shape).geometric_(1 / self.mean, generator=generator)
        lengths = lengths.clamp(1, self.longest)
        times = _choose_first_reached(lengths, clips.columns, self.ratio, generator)
        return _hide(grid, times, valid, generator)


@dataclass(frozen=True, kw_only=True)
class SeparateSpans(AbstractMasker):
    """Hides an exact number of columns, in spans of equal length (to a column) that keep a gap.

    A span that reaches over the end of a clip goes on at its beginning.
    """

    ratio: float = 0.65  # share of a clip's columns
    length: int = 10  # columns at most, unless a short clip has no room for the gaps
    gap: int = 1  # columns that stay between two spans, at least

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
    """Hides long spans until they are too many columns, then shows single ones of these again."""

    ratio: float = 0.6  # share of a clip's columns
    length: int = 20  # columns; at most half the grid, unless `as_in_reference_code`
    # as in M2D's code: surplus columns are revealed from the end of the clip
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
            uneven="the first columns lie in few spans, and the last are given back",
            unvisited="where one span is half the clip, the middle always lies in it",
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
    """Draws spans by their nominal number, starts without replacement, bool (batch, *sets, time).

    `columns`, bool (batch, time), marks real ones. A span is at most a quarter of a clip long. Not
    `last`, as in fairseq: none ends with the last column, and short clips keep the length.
    """
    size = columns.sum(dim=1).view(-1, *[1] * len(sets)).expand(-1, *sets)
    shape, time = size.shape, columns.shape[1]
    lengths = torch.full(shape, length)
    if last:
        lengths = lengths.minimum(size // 4).clamp(min=1)
    spans = (ratio * size / lengths + torch.rand(shape, generator=generator)).long().clamp(min=1)
    starts = size - lengths + 1
    if not last:
        starts = torch.where(size - lengths > spans, size - lengths, spans + 1)
    starts = starts.clamp(min=1).minimum(size)
    among = torch.arange(time) < starts.unsqueeze(-1)
    begun = choose(spans.minimum(starts), among=among, generator=generator).cumsum(dim=-1)
    before = torch.arange(time) - lengths.unsqueeze(-1)
    ended = begun.gather(-1, before.clamp(min=0)).masked_fill(before < 0, 0)
    return (begun > ended) & (torch.arange(time) < size.unsqueeze(-1))


def _choose_first_reached(
    lengths: Tensor, columns: Tensor, ratio: float, generator: torch.Generator
) -> Tensor:
    """Takes the columns that the first spans reach, cutting the last span short at one side.

    `lengths` (batch, starts) are those of spans from every start on; see `compute_arrival`.
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
    """Lays spans of `number` columns in all on rings of so many `columns`, bool (batch, time)."""
    shown = columns - number
    spans = ((number + length - 1) // length).minimum(shown // gap).clamp(min=1)
    slack = (shown - spans * gap).clamp(min=0)
    slots = torch.arange(time)  # a span or a free column each; the first is a span
    among = (slots > 0) & (slots < (spans + slack).unsqueeze(1))
    begins = choose(spans - 1, among=among, generator=generator) | (slots == 0)
    order = begins.cumsum(dim=1) - 1  # of the last span begun
    base, longer = (number // spans).unsqueeze(1), (number % spans).unsqueeze(1)
    start = (slots - order) + order * (base + gap) + order.minimum(longer)
    width = base + (order < longer)
    turn = (torch.rand((len(columns), 1), generator=generator) * columns.unsqueeze(1)).long()
    edges = torch.zeros(len(columns), time + 1, dtype=torch.long)
    edges.scatter_add_(1, start.clamp(max=time), begins.long())
    edges.scatter_add_(1, (start + width).clamp(max=time), -begins.long())
    covered = edges.cumsum(dim=1)[:, :time] > 0
    turned = (slots - turn) % columns.unsqueeze(1)
    return covered.gather(1, turned) & (slots < columns.unsqueeze(1))


def _hide(grid: Grid, times: Tensor, valid: Tensor, generator: torch.Generator) -> Mask:
    """Hides whole columns (batch, time) as one target block."""
    if grid.time == 1:
        raise GridRefusedError(f"{grid} has one column, which no span of time can split")
    hidden = fill_columns(grid, times).unsqueeze(1)
    return show_rest(hidden & valid.unsqueeze(1), valid=valid, generator=generator)
