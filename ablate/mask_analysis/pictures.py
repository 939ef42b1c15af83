"""Draws masks over spectrograms, and statistics of masks, as PNG."""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ablate.core.random import generator
from ablate.model.batching import Batching, truncate
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask

MOMENTS = (0.0, 0.5, 1.0)  # progress values to draw, because a curriculum's masks change
# distinguishable in greyscale and with colour blindness (Okabe and Ito)
BLOCK_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")
HIDDEN_COLOUR = "#15151c"  # patches that are neither context nor target
RUN_COLOUR, BLOCK_COLOUR = "#9FB4C7", "#B84A00"
MOST_SIDE_BY_SIDE = 128  # patches in time, above which panels are stacked vertically
MOST_WITH_LINES = 48  # patches in time, above which grid lines would hide the picture


def draw_masks(
    masker: AbstractMasker,
    grid: Grid,
    mel: Tensor,
    content: Tensor,
    *,
    seed: int = 0,
    batching: Batching = "pack",
    clips: int = 1,
) -> bytes:
    """Draws three masks of one spectrogram as PNG: at the start, middle and end of training.

    Context patches show the spectrogram, target blocks are tinted in one colour per block, and
    patches that are neither are dark. If the masker does not change during training, the panels
    are titled as three draws. Panels of more than 128 patches in time are stacked vertically.

    Args:
        masker: The masker.
        grid: The grid to draw on.
        mel: Spectrogram, `(bands, frames)`, or a waveform, `(1, samples)`.
        content: Its patches, `(1, patches, pixels)`.
        seed: Seed of the masks.
        batching: Masks are drawn after it, as the encoder sees them.
        clips: Batch size; the first mask of the batch is drawn.

    Raises:
        Exception: Whatever the masker raises.
    """
    batch_content = content.expand(clips, -1, -1) if masker.promises.needs else None

    def draw(number: int, progress: float) -> Mask:
        rng = generator(seed, "picture", number)
        mask = masker.draw(
            Clips.unpadded(grid, clips, progress=progress, content=batch_content), rng
        )
        return truncate(mask, batching, rng, copies=masker.promises.copies)

    changes = any(not _is_equal(draw(0, 0.0), draw(0, progress)) for progress in MOMENTS)
    names = ("start", "middle", "end") if changes else ("draw 1", "draw 2", "draw 3")
    stacked = grid.time > MOST_SIDE_BY_SIDE
    rows, columns = (len(MOMENTS), 1) if stacked else (1, len(MOMENTS))
    height = 1.25 * rows + 0.2 if stacked else 2.5
    figure = Figure(figsize=(3.2 * len(MOMENTS), height), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, (axes, progress) in enumerate(zip(panels, MOMENTS, strict=True)):
        _draw_mask(axes, mel, draw(number, progress), grid, names[number])
        if stacked or number == 0:
            axes.set_ylabel("frequency", fontsize=8)
        if not stacked or number == len(MOMENTS) - 1:
            axes.set_xlabel("time", fontsize=8)
    return _png(figure)


def _draw_mask(axes: Axes, mel: Tensor, mask: Mask, grid: Grid, name: str) -> None:
    """Draws the first mask of a batch, with its shares of the grid in the title."""
    picture = paint(mel, mask, grid)
    axes.imshow(picture, origin="lower", aspect="auto", interpolation="nearest")
    axes.set_xticks(_edges(grid.time, picture.shape[1]), [])
    axes.set_yticks(_edges(grid.freq, picture.shape[0]), [])
    if grid.time <= MOST_WITH_LINES:
        axes.grid(color="white", linewidth=0.3, alpha=0.5)
    axes.tick_params(length=0)
    context, targets = (
        100 * float(member[0].float().mean()) for member in (mask.context, mask.target_union)
    )
    axes.set_title(f"{name}: context {context:.0f} %, targets {targets:.0f} %", fontsize=9)


def _is_equal(one: Mask, other: Mask) -> bool:
    return torch.equal(one.context, other.context) and torch.equal(one.targets, other.targets)


def draw_counts(
    visits: Mapping[str, Tensor], lengths: Mapping[str, tuple[Tensor, Tensor]]
) -> bytes:
    """Draws visits per patch, and histograms of run lengths and block sizes, as PNG.

    Args:
        visits: Probabilities per patch, `(freq, time)`, by name; drawn relative to their mean.
        lengths: Histograms of run lengths and of block sizes, by axis.
    """
    figure = Figure(figsize=(9.6, 1.9), dpi=110, layout="constrained")
    panels = iter(figure.subplots(1, len(visits) + len(lengths), squeeze=False)[0])
    for name, shares in visits.items():
        axes, mean = next(panels), float(shares.mean())
        image = axes.imshow(
            (shares / max(mean, 1e-9)).numpy(),
            origin="lower",
            aspect="auto",
            cmap="PuOr",
            vmin=0,
            vmax=2,
        )
        span = f"{float(shares.min()):.0%} to {float(shares.max()):.0%}"
        axes.set_title(f"{name} visits: {span}", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        bar = figure.colorbar(image, ax=axes, ticks=(0, 1, 2), pad=0.02)
        bar.ax.set_yticklabels(["0", "mean", "x2"], fontsize=7)
    for name, (runs, blocks) in lengths.items():
        axes = next(panels)
        longest = max(_longest(runs), _longest(blocks))
        steps = np.arange(1, longest + 1)
        axes.bar(steps, _shares(runs, longest), width=1.0, color=RUN_COLOUR, label="runs")
        edges = np.arange(longest + 1) + 0.5
        axes.stairs(_shares(blocks, longest), edges, color=BLOCK_COLOUR, label="blocks")
        axes.set_title(f"target patches along {name}", fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
        axes.set_xlim(0.5, longest + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        axes.legend(fontsize=7, frameon=False, loc="best")
    return _png(figure)


def paint(mel: Tensor, mask: Mask, grid: Grid, sample: int = 0) -> npt.NDArray[np.float32]:
    """Paints one sample's mask over its spectrogram.

    Args:
        mel: `(bands, frames)`. A waveform, `(1, samples)`, is replaced by its spectrogram.
        mask: The masks of a batch.
        grid: The grid of the mask. Overlapping patches are drawn as wide as their stride.
        sample: Index of the sample in the batch.

    Returns:
        RGB in [0, 1], `(bands, frames, 3)`.
    """
    spectrogram = (_spectrogram(mel) if len(mel) == 1 else mel).float().numpy()
    low, high = np.percentile(spectrogram, (2, 99))
    grey = np.clip((spectrogram - low) / max(high - low, 1e-6), 0, 1)[..., None]
    visible = _to_pixels(mask.context[sample], grid, spectrogram.shape)
    picture = np.where(visible, 0.12 + 0.88 * grey, np.array(to_rgb(HIDDEN_COLOUR)))
    for block, member in enumerate(mask.targets[sample]):
        colour = np.array(to_rgb(BLOCK_COLOURS[block % len(BLOCK_COLOURS)]))
        hidden = _to_pixels(member, grid, spectrogram.shape)
        picture = np.where(hidden, colour * (0.45 + 0.55 * grey), picture)
    return picture.astype(np.float32)


def cut_patches(mel: Tensor, grid: Grid) -> Tensor:
    """Cuts `(bands, frames)`, which the grid must divide, into `(1, patches, pixels)`."""
    pattern = "(freq bands) (time frames) -> 1 (freq time) (bands frames)"
    return rearrange(mel, pattern, freq=grid.freq, time=grid.time)


def _spectrogram(waveform: Tensor) -> Tensor:
    window = torch.hann_window(400)
    samples = waveform[0].float()
    spectrum = torch.stft(samples, 512, 160, 400, window, pad_mode="constant", return_complex=True)
    return (spectrum.abs().square() + 1e-4).log()


def _longest(histogram: Tensor) -> int:
    return int(histogram.nonzero().max()) if histogram.any() else 1


def _shares(histogram: Tensor, longest: int) -> npt.NDArray[np.float64]:
    """Returns the share of each length, from 1 to the longest."""
    counts = histogram.double().numpy()
    return np.asarray(counts[1 : longest + 1] / max(counts.sum(), 1))


def _to_pixels(member: Tensor, grid: Grid, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Repeats each patch's membership over its pixels, with a last axis for colour."""
    cells = member.view(grid.freq, grid.time).numpy()
    rows = np.arange(shape[0]) * grid.freq // shape[0]
    columns = np.arange(shape[1]) * grid.time // shape[1]
    return cells[rows][:, columns, None]


def _edges(patches: int, pixels: int) -> list[float]:
    return [edge * pixels / patches - 0.5 for edge in range(1, patches)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
