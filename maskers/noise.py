"""Noise-shaped masking: filtered noise is ranked, so that patches are hidden in clusters or apart.

Hinojosa, Liu and Ghanem, "ColorMAE: Exploring data-independent masking strategies in Masked
AutoEncoders", ECCV 2024. https://arxiv.org/abs/2407.13036
Bhowmik et al., "Structured-Noise Masked Modeling for Video, Audio and Beyond", 2025.
https://arxiv.org/abs/2503.16311
Unlike ColorMAE's code, which crops from a bank of square images: the noise is drawn for the grid
itself, with a reach per axis, since patches in frequency are no patches in time. Its borders
reflect, so that eight rows do not wrap around and one row is noise in one dimension; reflection
makes noise stronger at borders, so it is divided by its known deviation, or visits would be uneven.
The sigmas of the papers are not known for this grid: these are ours.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, check_range
from maskers.sampling import check_ratio, hide_rest


@dataclass(frozen=True, kw_only=True)
class Noise(AbstractMasker):
    """Hides patches where white noise, filtered with Gaussians, is high.

    Red noise is the low-passed (large blobs), blue what is left of white without it (spread
    out), green the band between the Gaussian and one `width` times as wide (clusters of a size),
    purple what is left without that band (blobs and dust). Unlike the papers' plain difference
    of Gaussians, the band is scaled to a peak of 1, so that purple lacks it wholly; on eight rows
    purple shows what it is with sigmas of about 0.5.
    """

    colour: Literal["red", "blue", "green", "purple"] = "green"
    ratio: float = 0.75  # share hidden
    sigma_freq: float = 1.0  # patches; 0 leaves this axis unfiltered
    sigma_time: float = 1.0  # patches
    width: float = 2.0  # of the wider Gaussian over the narrower; for green and purple

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("sigma_freq", self.sigma_freq, low=0, high=16)
        check_range("sigma_time", self.sigma_time, low=0, high=16)
        if self.sigma_freq == self.sigma_time == 0:
            raise ValueError(
                "`sigma_freq` and `sigma_time` are both 0, which filters nothing; "
                "raise one, or take `maskers.Random`"
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
        peak = math.log(wider) / (wider - 1)  # where the band is strongest
        band = (low - lower) / (math.exp(-peak) - math.exp(-peak * wider))
        return {"red": low, "blue": 1 - low, "green": band, "purple": 1 - band}[self.colour]


@dataclass(frozen=True, kw_only=True)
class PowerLaw(AbstractMasker):
    """Hides patches where noise with a power spectrum of 1 / f^beta is high.

    How clustered a mask is becomes one number: -2 spreads (blue), 0 is uniform, 1 is pink, 2 and
    more clusters (red), up to a few large regions. Below -2 it would not spread further: what is
    left of the noise beats. f counts cycles per patch, alike on both axes.
    """

    beta: float = 1.0  # from -2, spread out, to 4, a few regions
    ratio: float = 0.75  # share hidden

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
    """Shows patches spread as evenly as can be: each swap moves one from a cluster to a void.

    Structured-Noise Masked Modeling (above) proposes optimised blue noise for audio and publishes
    no code. This is the first phase of Ulichney, "The void-and-cluster method for dither array
    generation", SPIE 1993, from a uniform start. Distances are measured around the edges, so that
    visits stay even; padding counts as evenly covered.
    """

    part = "maskers.EvenBlue"  # its former name

    ratio: float = 0.8  # share hidden
    swaps: float = 1.0  # at most so many per visible patch; most masks settle earlier

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
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        number = round_share(clips.num_valid, 1 - self.ratio)
        seen = choose(number, among=valid, generator=generator)
        kernel = self._build_repulsion(grid)
        crowd = (seen + (1 - self.ratio) * ~valid).double() @ kernel
        crowd += 1e-9 * torch.rand(crowd.shape, generator=generator)  # ties go by chance
        rows = torch.arange(batch)
        for _ in range(math.ceil(self.swaps * int(number.max()))):
            cluster = crowd.masked_fill(~seen, -torch.inf).argmax(dim=1)
            crowd -= kernel[cluster]
            seen[rows, cluster] = False
            void = crowd.masked_fill(seen | ~valid, torch.inf).argmin(dim=1)
            crowd += kernel[void]
            seen[rows, void] = True
            if torch.equal(cluster, void):
                break
        return hide_rest(seen, valid)

    def _build_repulsion(self, grid: Grid) -> Tensor:
        """Returns what each patch adds to the crowd at every other, (patches, patches)."""
        rarer = min(self.ratio, 1 - self.ratio)
        spacing = max(rarer**-0.5, 1 / (rarer * grid.freq))
        sigma = 0.4 * spacing  # wider ones even out more at large, and let pairs touch
        rows, columns = torch.arange(grid.freq), torch.arange(grid.time)
        return torch.kron(_build_ring_kernel(rows, sigma), _build_ring_kernel(columns, sigma))


def _build_ring_kernel(places: Tensor, sigma: float) -> Tensor:
    """Returns a Gaussian of the distance between places on a ring, (places, places)."""
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
    """Draws Gaussian noise of a given spectrum and unit deviation everywhere, (batch, patches).

    `response` (freq, time) is the filter's gain for every cosine; what it does to the mean is of
    no matter to a ranking. Filtering between reflecting borders is a product in a cosine basis,
    and on a grid of patches the basis is small enough to multiply with. In double precision, so
    that the last digits of another machine move no patch.
    """
    gain = response.clone()
    gain[0, 0] = 0.0
    gain = gain / gain.max().clamp(min=1e-300) + 1e-6  # where all is filtered out, white is left
    rows, columns = _build_cosine_basis(grid.freq), _build_cosine_basis(grid.time)
    white = torch.randn(batch, grid.freq, grid.time, generator=generator).double()
    noise = rows.T @ (gain * white) @ columns
    deviation = (rows.square().T @ gain.square() @ columns.square()).sqrt()
    return (noise / deviation).flatten(1)


def _build_cosine_basis(count: int) -> Tensor:
    """Returns the orthonormal cosine basis of `count` places, (frequencies, places)."""
    places = torch.arange(count, dtype=torch.double)
    basis = torch.cos(math.pi / count * places.unsqueeze(1) * (places + 0.5))
    return basis / basis.square().sum(dim=1, keepdim=True).sqrt()
