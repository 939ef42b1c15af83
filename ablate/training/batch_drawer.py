"""Draws the clips and the masks of each training step."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom, generator
from ablate.model.batching import Batching, truncate
from ablate.model.jepa import JEPA
from ablate.model.masking import AbstractMasker, Clips, Grid
from ablate.model.objectives import AbstractObjective
from ablate.model.patchify import AbstractPatchifier
from ablate.model.precision import Precision, autocast
from ablate.training.batches import BatchSource, MaskedBatch
from ablate.training.input_scale import InputScale
from ablate.training.input_views import AbstractView
from ablate.training.mask_content import compute_model_content
from ablate.training.optimizer import Budget
from ablate.training.prefetch import DrawBatch, prefetch
from ablate.training.schedules import ramp

REFERENCE_CLIPS = 64  # maximum number of clips on which a model is measured


@dataclass(frozen=True, kw_only=True)
class BatchDrawer:
    """Draws the global batch of any step.

    `mask_seed` keys the masks, and `seed` views and the random numbers of layers; the loader has a
    seed of its own.
    """

    loader: BatchSource
    patchifier: AbstractPatchifier
    grid: Grid
    masker: AbstractMasker
    batching: Batching
    budget: Budget
    seed: int
    mask_seed: int
    device: torch.device
    jepa: JEPA  # read by maskers that need what the model makes of the clips
    objective: AbstractObjective  # read by maskers that need losses
    precision: Precision  # in which the model is read
    view: AbstractView | None = None  # changes what the context encoder sees
    target_view: AbstractView | None = None  # changes what the target is computed from
    symmetric: bool = False  # whether the two views also exchange their roles
    input_scale: InputScale | None = None  # needed for a view
    prefetch: bool = False  # whether threads draw the next batches during a step

    def draw(self, step: int) -> MaskedBatch:
        """Draws the clips and masks of a step's global batch."""
        batch = self.loader.batch(step, self.budget.batch)
        valid = self.patchifier.valid(batch.valid_frames, batch.bands)
        rng = generator(self.mask_seed, "mask", step)
        clips = Clips(
            grid=self.grid,
            valid=valid,
            progress=ramp(step, self.budget.steps),
            content=self.compute_content(batch, valid, step),
        )
        drawn, copies = self.masker.draw(clips, rng), self.masker.promises.copies
        mask = truncate(drawn, self.batching, rng, copies=copies)
        seen = self._draw_view(self.view, batch, "view", step)
        target = self._draw_view(self.target_view, batch, "target view", step)
        view = None if seen is target is batch else seen
        masked = MaskedBatch(target, valid, mask, StepRandom(self.seed, step), view)
        return masked.exchange_views() if self.symmetric else masked

    def compute_content(self, batch: Batch, valid: Tensor, step: int) -> Tensor | None:
        """Returns what the masker needs, (clips, patches, dim) on the CPU; padding is zero."""
        needs = self.masker.promises.needs
        if needs is None or needs == "patches":
            return self.patchifier.cut(batch.mels) if needs else None
        with autocast(self.precision, self.device):
            return compute_model_content(
                needs,
                self.jepa,
                self.objective,
                self.cut(batch),
                valid,
                StepRandom(self.mask_seed, step),
                ramp(step, self.budget.steps),
            )

    def _draw_view(self, view: AbstractView | None, batch: Batch, use: str, step: int) -> Batch:
        """Draws what an encoder sees: the clips themselves without a view."""
        if view is None:
            return batch
        assert self.input_scale is not None, "a view needs the scale of its input"
        rng = generator(self.seed, use, step)
        changed = view(batch.mels, batch.valid_frames, self.input_scale, rng)
        return Batch(changed, batch.valid_frames)

    @property
    def draws_ahead(self) -> bool:
        """Whether batches are drawn before their step begins.

        A masker that reads what the model makes of the clips needs the weights of its own step.
        """
        return self.prefetch and self.masker.promises.needs in (None, "patches")

    def drawing(self) -> AbstractContextManager[DrawBatch]:
        """Returns a context manager that yields `draw`, with prefetching where possible."""
        pin = self.device.type == "cuda"
        return prefetch(self.draw, self.budget.steps, enabled=self.draws_ahead, pin=pin)

    def cut(self, batch: Batch) -> Tensor:
        """Cuts clips into patches on the device, `(clips, patches, pixels)`."""
        return self.patchifier.cut(batch.mels_on(self.device))

    def load_patches(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns patches of some clips on the device, and which of them are valid."""
        batch = self.loader.batch(step, REFERENCE_CLIPS)
        return self.cut(batch), self.patchifier.valid(batch.valid_frames, batch.bands)
