"""Masks and spectrograms as pictures."""

import io

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from ablate.chance import generator
from ablate.model.masking import AbstractMasker, Grid, Mask

MOMENTS = (0.0, 0.5, 1.0)  # of training: a curriculum's masks change
# told apart in grey and by colour-blind eyes (Okabe and Ito)
BLOCK_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")
UNSEEN = "#15151c"


def draw_masks(masker: AbstractMasker, grid: Grid, mel: Tensor, *, seed: int = 0) -> bytes:
    """Draws three masks of one spectrogram, at the start, middle and end of training, as PNG.

    `mel` is (bands, frames). What is visible shows the sound; a target block is tinted, in one
    colour per block; what is neither seen nor asked for is dark.
    """
    figure = Figure(figsize=(3.2 * len(MOMENTS), 2.3), dpi=110, layout="constrained")
    for column, progress in enumerate(MOMENTS):
        axes = figure.add_subplot(1, len(MOMENTS), column + 1)
        mask = masker(
            grid,
            1,
            generator=generator(seed, "picture", column),
            progress=progress,
            content=_content(masker, grid, mel),
        )
        picture = paint(mel, mask, grid)
        axes.imshow(picture, origin="lower", aspect="auto", interpolation="nearest")
        axes.set_xticks(_edges(grid.time, picture.shape[1]), [])
        axes.set_yticks(_edges(grid.freq, picture.shape[0]), [])
        axes.grid(color="white", linewidth=0.3, alpha=0.5)
        axes.tick_params(length=0)
        shares = (mask.context.float().mean(), mask.target_union.float().mean())
        when = ("start", "middle", "end")[column]
        axes.set_title(f"{when}: {shares[0]:.0%} seen, {shares[1]:.0%} asked", fontsize=9)
    return _png(figure)


def paint(mel: Tensor, mask: Mask, grid: Grid, sample: int = 0) -> npt.NDArray[np.float32]:
    """Paints one sample's mask over its mel, (bands, frames), to RGB with a last axis of 3."""
    sound = mel.float().numpy()
    low, high = np.percentile(sound, (2, 99))
    grey = np.clip((sound - low) / max(high - low, 1e-6), 0, 1)[..., None]
    seen = _spread(mask.context[sample], grid, mel.shape)
    picture = np.where(seen, 0.12 + 0.88 * grey, np.array(to_rgb(UNSEEN)))
    for block, member in enumerate(mask.targets[sample]):
        colour = np.array(to_rgb(BLOCK_COLOURS[block % len(BLOCK_COLOURS)]))
        hidden = _spread(member, grid, mel.shape)
        picture = np.where(hidden, colour * (0.45 + 0.55 * grey), picture)
    return picture.astype(np.float32)


def _content(masker: AbstractMasker, grid: Grid, mel: Tensor) -> Tensor | None:
    if masker.promises.needs is None:
        return None
    bands, frames = mel.shape
    cells = mel.view(grid.freq, bands // grid.freq, grid.time, frames // grid.time)
    return cells.permute(0, 2, 1, 3).reshape(1, grid.size, -1)


def _spread(member: Tensor, grid: Grid, shape: torch.Size) -> npt.NDArray[np.bool_]:
    """Repeats each patch's membership over its mel values, with a last axis for colour."""
    cells = member.view(grid.freq, grid.time).numpy()
    tall = np.repeat(cells, shape[0] // grid.freq, axis=0)
    return np.repeat(tall, shape[1] // grid.time, axis=1)[..., None]


def _edges(patches: int, pixels: int) -> list[float]:
    return [edge * pixels / patches - 0.5 for edge in range(1, patches)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
