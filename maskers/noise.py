"""Noise-shaped masking: ranks filtered noise, so that hidden patches form clusters or keep apart.

Hinojosa, Liu and Ghanem, "ColorMAE: Exploring data-independent masking strategies in Masked
AutoEncoders", ECCV 2024. https://arxiv.org/abs/2407.13036
Bhowmik et al., "Structured-Noise Masked Modeling for Video, Audio and Beyond", 2025.
https://arxiv.org/abs/2503.16311
Unlike the code of ColorMAE, which crops from a set of square images: the noise is drawn for the
grid itself, with one width per axis, because frequency and time differ. Its borders reflect, so
that eight rows do not wrap around and one row is one-dimensional noise; reflection makes noise
stronger at borders, so it is divided by its known standard deviation: otherwise visits would be
uneven. The papers do not give sigmas for this grid: these are ours.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_loops import swap_one_by_one
from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, check_range
from maskers.sampling import check_ratio, hide_rest

MOST_SINGLE_SWAPS = 1024  # patches; on larger grids many of them move at a time
ROUNDS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04)  # share of the visible patches that moves


@dataclass(frozen=True, kw_only=True)
class Noise(AbstractMasker):
    """Hides patches where white noise, filtered with Gaussians, is high.

    Red noise is low-passed (large blobs); blue is the rest of the white noise (spread out); green
    is the band between the Gaussian and one `width` times as wide (clusters of one size); purple is
    the rest without that band (blobs and dust). Unlike the plain difference of Gaussians of the
    papers, the band is scaled to a peak of 1, so that purple lacks it completely. On eight rows
    purple needs sigmas of about 0.5.

    Args:
        colour: The filter.
        ratio: Share of patches hidden.
        sigma_freq: Standard deviation of the Gaussian over rows, in patches; 0 does not filter.
        sigma_time: Standard deviation over columns, in patches.
        width: Width of the wider Gaussian over that of the narrower, for green and purple.

    Example:
        masker: {type: maskers.Noise, colour: green, ratio: 0.75}
    """

    colour: Literal["red", "blue", "green", "purple"] = "green"
    ratio: float = 0.75
    sigma_freq: float = 1.0
    sigma_time: float = 1.0
    width: float = 2.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("sigma_freq", self.sigma_freq, low=0, high=16)
        check_range("sigma_time", self.sigma_time, low=0, high=16)
        if self.sigma_freq == self.sigma_time == 0:
            raise ValueError(
                "`sigma_freq` and `sigma_time` are both 0, which filters nothing; "
                "raise one, or use `maskers.Random`"
            )
        if self.width <= 1:
            raise ValueError(f"`width` must be above 1; got {self.width}")

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio), exact=True)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        noise = _draw_filtered_noise(grid, batch, self._compute_response(grid), generator)
        number = round_share(clips.num_valid, 1 - self.ratio)
        return hide_rest(choose_lowest(number, noise, among=valid), valid)

    def _compute_response(self, grid: Grid) -> Tensor:
        freq, time = (angle.square() for angle in _get_angles(grid))
        exponent = (self.sigma_freq**2 * freq + self.sigma_time**2 * time) / 2
        wider = self.width**2
        low, lower = (-exponent).exp(), (-exponent * wider).exp()
        peak = math.log(wider) / (wider - 1)  # exponent at which the band is strongest
        band = (low - lower) / (math.exp(-peak) - math.exp(-peak * wider))
        return {"red": low, "blue": 1 - low, "green": band, "purple": 1 - band}[self.colour]


@dataclass(frozen=True, kw_only=True)
class PowerLaw(AbstractMasker):
    """Hides patches where noise with a power spectrum of 1 / f^beta is high.

    One number sets how clustered a mask is: -2 spreads patches (blue), 0 is uniform, 1 is pink, 2
    and more makes clusters (red), up to a few large regions. Below -2 patches would not spread
    further. f counts cycles per patch, on both axes.

    Args:
        beta: Exponent, from -2 (spread out) to 4 (a few regions).
        ratio: Share of patches hidden.

    Example:
        masker: {type: maskers.PowerLaw, beta: 1.0, ratio: 0.75}
    """

    beta: float = 1.0
    ratio: float = 0.75

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("beta", self.beta, low=-2, high=4)

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio), exact=True)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        freq, time = _get_angles(grid)
        frequency = (freq.square() + time.square()).sqrt().clamp(min=1e-9)
        noise = _draw_filtered_noise(grid, batch, frequency ** (-self.beta / 2), generator)
        number = round_share(clips.num_valid, 1 - self.ratio)
        return hide_rest(choose_lowest(number, noise, among=valid), valid)


@dataclass(frozen=True, kw_only=True)
class VoidAndCluster(AbstractMasker):
    """Shows patches that are spread as evenly as possible.

    Each swap moves a visible patch from the densest cluster to the largest void. Structured-Noise
    Masked Modeling (see above) proposes optimised blue noise for audio and publishes no code. This
    is the first phase of Ulichney, "The void-and-cluster method for dither array generation", SPIE
    1993, from a uniform start. Distances wrap around the edges, so that all patches are visited
    equally; padding counts as evenly covered. On grids of more than 1024 patches many patches
    move at a time, in eight rounds of fewer and fewer: the density varies then by 0.19 of that of
    random patches, instead of by 0.13 (variances on 8x64 patches, a fifth of them visible).

    Args:
        ratio: Share of patches hidden.
        swaps: Greatest number of swaps per visible patch; most masks need fewer.

    Example:
        masker: {type: maskers.VoidAndCluster, ratio: 0.8}
    """

    part = "maskers.EvenBlue"  # its former name

    ratio: float = 0.8
    swaps: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("swaps", self.swaps, low=0, high=10)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            slow="each swap depends on all before it",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        number = round_share(clips.num_valid, 1 - self.ratio)
        seen = choose(number, among=valid, generator=generator)
        if grid.size > MOST_SINGLE_SWAPS:
            return hide_rest(self._swap_many(grid, seen, valid, generator), valid)
        kernel = self._build_repulsion(grid)
        density = (seen + (1 - self.ratio) * ~valid).double() @ kernel
        density += 1e-9 * torch.rand(density.shape, generator=generator)  # breaks ties at random
        seen = swap_one_by_one(
            density,
            kernel,
            seen,
            valid,
            swaps=math.ceil(self.swaps * int(number.max())),
        )
        return hide_rest(seen, valid)

    def _swap_many(
        self, grid: Grid, seen: Tensor, valid: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Moves patches from the densest clusters to the largest voids, many at a time.

        In each round a random half of the patches may move, so that a cluster does not leave, nor a
        void fill up, as a whole.
        """
        number = seen.sum(dim=1)
        covered = (1 - self.ratio) * ~valid
        for share in ROUNDS:
            cells = (seen + covered).view(-1, grid.freq, grid.time)
            for axis in (1, 2):
                cells = self._blur(grid, cells, axis)
            noise = torch.rand(seen.shape, generator=generator)
            density = cells.flatten(1) + 1e-3 * noise
            may_move = noise < 0.5
            count = (number * share * min(self.swaps, 1.0)).long()
            left = choose_lowest(count, -density, among=seen & may_move)
            free = valid & ~seen & may_move
            filled = choose_lowest(left.sum(dim=1), density, among=free)
            if (filled.sum(dim=1) < left.sum(dim=1)).any():
                left = choose_lowest(filled.sum(dim=1), -density, among=left)
            seen = (seen & ~left) | filled
        return seen

    def _blur(self, grid: Grid, cells: Tensor, axis: int) -> Tensor:
        """Convolves (batch, freq, time) with the kernel along an axis, up to 3 deviations.

        By sums of shifted copies, which give the same bits on every machine.
        """
        sigma, size = self._get_width(grid), cells.shape[axis]
        blurred = cells.clone()
        for distance in range(1, min(math.ceil(3 * sigma), size // 2) + 1):
            weight = math.exp(-0.5 * (distance / sigma) ** 2)
            blurred += weight * (cells.roll(distance, axis) + cells.roll(-distance, axis))
        return blurred

    def _build_repulsion(self, grid: Grid) -> Tensor:
        """Computes what each patch adds to the density at every other, (patches, patches)."""
        sigma = self._get_width(grid)
        rows, columns = torch.arange(grid.freq), torch.arange(grid.time)
        return torch.kron(_build_ring_kernel(rows, sigma), _build_ring_kernel(columns, sigma))

    def _get_width(self, grid: Grid) -> float:
        """Returns the deviation of the kernel, in patches."""
        rarer = min(self.ratio, 1 - self.ratio)
        spacing = max(rarer**-0.5, 1 / (rarer * grid.freq))
        return 0.4 * float(spacing)  # a wider one lets patches touch in pairs


def _build_ring_kernel(places: Tensor, sigma: float) -> Tensor:
    """Computes a Gaussian of the distance between positions on a ring, (positions, positions)."""
    distance = (places.unsqueeze(0) - places.unsqueeze(1)).abs()
    distance = distance.minimum(len(places) - distance).double()
    return (-0.5 * (distance / sigma).square()).exp()


def _get_angles(grid: Grid) -> tuple[Tensor, Tensor]:
    """Returns the frequencies of the grid's cosines, radians per patch, (freq, 1) and (1, time)."""
    rows = torch.arange(grid.freq, dtype=torch.double) * math.pi / grid.freq
    columns = torch.arange(grid.time, dtype=torch.double) * math.pi / grid.time
    return rows.unsqueeze(1), columns.unsqueeze(0)


def _draw_filtered_noise(
    grid: Grid, batch: int, response: Tensor, generator: torch.Generator
) -> Tensor:
    """Draws filtered Gaussian noise, of standard deviation 1 at every patch, (batch, patches).

    Filtering with reflecting borders is a product in a cosine basis, which is small enough for a
    matrix product on a grid of patches. In double precision, so that rounding differences between
    machines change no mask.

    Args:
        grid: The patches.
        batch: Number of samples.
        response: Gain of the filter for every cosine, (freq, time). That of the mean is ignored,
            because only ranks matter.
        generator: The source of randomness.
    """
    gain = response.clone()
    gain[0, 0] = 0.0
    # if everything is filtered out, white noise is left
    gain = gain / gain.max().clamp(min=1e-300) + 1e-6
    rows, columns = _build_cosine_basis(grid.freq), _build_cosine_basis(grid.time)
    white = torch.randn(batch, grid.freq, grid.time, generator=generator).double()
    noise = rows.T @ (gain * white) @ columns
    deviation = (rows.square().T @ gain.square() @ columns.square()).sqrt()
    return (noise / deviation).flatten(1)


def _build_cosine_basis(count: int) -> Tensor:
    """Builds the orthonormal cosine basis of `count` positions, (frequencies, positions)."""
    places = torch.arange(count, dtype=torch.double)
    basis = torch.cos(math.pi / count * places.unsqueeze(1) * (places + 0.5))
    return basis / basis.square().sum(dim=1, keepdim=True).sqrt()
