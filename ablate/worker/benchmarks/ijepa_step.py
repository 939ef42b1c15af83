"""The training step of I-JEPA's own code, on a grid of our sizes.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023; its modules and collators are imported from a checkout. Only the tables
of positions, which suit square grids, are replaced. Left out are its logging of gradient norms and
`DistributedDataParallel`, which cost time.
"""

import copy
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.worker.benchmarks.peer_checkouts import IJEPA, import_modules
from ablate.worker.benchmarks.peer_steps import (
    HIDDEN,
    MANY_STEPS,
    PeerSizes,
    PeerStep,
    split_parameters,
)

MODULES = (
    "models.vision_transformer",
    "masks.random",
    "masks.multiblock",
    "masks.utils",
    "utils.schedulers",
    "utils.tensors",
)
# configs/in1k_vith14_ep300.yaml
BLOCKS = {
    "enc_mask_scale": (0.85, 1.0),
    "pred_mask_scale": (0.15, 0.2),
    "aspect_ratio": (0.75, 1.5),
    "nenc": 1,
    "npred": 4,
    "allow_overlap": False,
}
MIN_KEEP = 10  # from the same file; a block on a small grid has fewer patches
MOMENTUM = 0.996


def build_ijepa_steps(folder: Path, sizes: PeerSizes) -> list[PeerStep]:
    """Builds its steps on random masks and on blocks. Raises `PeerError`."""
    modules = import_modules(IJEPA, folder, MODULES)
    area = sizes.freq * sizes.time
    min_keep = min(MIN_KEEP, int(0.5 * BLOCKS["pred_mask_scale"][0] * area))  # type: ignore[index]
    image = sizes.freq * sizes.patch, sizes.time * sizes.patch
    random_masks = modules[1].MaskCollator((HIDDEN, HIDDEN), image, sizes.patch)
    blocks = modules[2].MaskCollator(image, sizes.patch, min_keep=min_keep, **BLOCKS)
    return [
        PeerStep("I-JEPA, random", _IjepaStep(modules, sizes, random_masks)),
        PeerStep("I-JEPA, blocks", _IjepaStep(modules, sizes, blocks)),
    ]


class _IjepaStep:
    """Its model, optimiser and schedules; each call is a step."""

    def __init__(self, modules: list[ModuleType], sizes: PeerSizes, collator: Any) -> None:
        models, _, _, self._masks, schedulers, self._tensors = modules
        self._sizes, self._collator = sizes, collator
        encoder, self._predictor = _build_models(models, sizes)
        self._encoder, self._target = encoder, copy.deepcopy(encoder)
        self._target.requires_grad_(requires_grad=False)
        self._adam = torch.optim.AdamW(split_parameters([encoder, self._predictor]))
        warmup = MANY_STEPS // 10
        self._rates = schedulers.WarmupCosineSchedule(self._adam, warmup, 2e-4, 1e-3, MANY_STEPS)
        self._decays = schedulers.CosineWDSchedule(self._adam, 0.04, MANY_STEPS, 0.4)
        self._clips = [(clip, 0) for clip in sizes.draw_clips(sizes.freq, sizes.time)]
        # on a GPU other processes draw
        self._drawn = None if sizes.device.type == "cpu" else collator(self._clips)

    def __call__(self) -> int:
        (sounds, _), context, targets = self._drawn or self._collator(self._clips)
        device = self._sizes.device
        sounds = sounds.to(device, non_blocking=True)
        context, targets = (
            [mask.to(device, non_blocking=True) for mask in masks] for masks in (context, targets)
        )
        self._rates.step()
        self._decays.step()
        with self._sizes.autocast():
            wanted = self._compute_targets(sounds, context, targets)
            predicted = self._predictor(self._encoder(sounds, context), context, targets)
            loss: Tensor = F.smooth_l1_loss(predicted, wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        self._adam.zero_grad()
        with torch.no_grad():
            pairs = zip(self._encoder.parameters(), self._target.parameters(), strict=True)
            for learned, averaged in pairs:
                averaged.data.mul_(MOMENTUM).add_((1 - MOMENTUM) * learned.detach().data)
        loss.item()  # its loop reads the loss of every step
        return int(context[0].shape[1])

    @torch.no_grad()
    def _compute_targets(
        self, sounds: Tensor, context: list[Tensor], targets: list[Tensor]
    ) -> Tensor:
        features = self._target(sounds)
        features = F.layer_norm(features, features.shape[-1:])
        chosen = self._masks.apply_masks(features, targets)
        repeated: Tensor = self._tensors.repeat_interleave_batch(
            chosen, len(features), repeat=len(context)
        )
        return repeated


def _build_models(models: ModuleType, sizes: PeerSizes) -> tuple[nn.Module, nn.Module]:
    """Builds its encoder and predictor for a grid that is not square."""
    norm, num_patches = partial(nn.LayerNorm, eps=1e-6), sizes.freq * sizes.time
    encoder = models.VisionTransformer(
        img_size=[sizes.patch],
        patch_size=sizes.patch,
        in_chans=1,
        embed_dim=sizes.encoder.dim,
        depth=sizes.encoder.layers,
        num_heads=sizes.encoder.heads,
        mlp_ratio=sizes.encoder.mlp_ratio,
        norm_layer=norm,
    )
    predictor = models.VisionTransformerPredictor(
        num_patches=1,
        embed_dim=sizes.encoder.dim,
        predictor_embed_dim=sizes.predictor.dim,
        depth=sizes.predictor.layers,
        num_heads=sizes.predictor.heads,
        mlp_ratio=sizes.predictor.mlp_ratio,
        norm_layer=norm,
    )
    for model, name in ((encoder, "pos_embed"), (predictor, "predictor_pos_embed")):
        table = torch.randn(1, num_patches, getattr(model, name).shape[-1])
        setattr(model, name, nn.Parameter(table, requires_grad=False))
    return encoder.to(sizes.device), predictor.to(sizes.device)
