"""The training step of Audio-JEPA's own code, on a grid of our sizes.

Tuncay et al., "Audio-JEPA", 2025, https://arxiv.org/abs/2507.02915; its modules and collators are
imported from a checkout. Its attention is that of flash-attn, which runs only on GPUs in half
precision. Elsewhere its step has the attention that it had before, written out in its
`attentions.py`, or torch's `scaled_dot_product_attention`. Left out is what Lightning does per
step, which costs time.
"""

import copy
import importlib
import importlib.util
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.worker.benchmarks.peer_checkouts import AUDIO_JEPA, import_modules
from ablate.worker.benchmarks.peer_steps import (
    HIDDEN,
    MANY_STEPS,
    PeerSizes,
    PeerStep,
    split_parameters,
)

MODULES = (
    "models.components.vision_transformer",
    "models.components.attentions",
    "models.components.loss",
    "masks.components.random_block",
    "masks.components.utils",
    "optimizers.warmup_cosine",
    "optimizers.cosine_wd",
)
FLASH = "flash_attn.modules.mha"
MOMENTUM = 0.996


class SdpaAttention(nn.Module):
    """Multi-head attention with the arguments of flash-attn's `MHA`, by torch's fused kernel."""

    def __init__(
        self, embed_dim: int, num_heads: int, *, qkv_proj_bias: bool, **unused: Any
    ) -> None:
        super().__init__()
        self.heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_proj_bias)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Takes and returns (batch, tokens, dim)."""
        parts = rearrange(
            self.qkv(tokens), "b n (three h d) -> three b h n d", three=3, h=self.heads
        )
        attended: Tensor = self.out(
            rearrange(F.scaled_dot_product_attention(*parts), "b h n d -> b n (h d)")
        )
        return attended


def build_audio_jepa_steps(folder: Path, sizes: PeerSizes) -> list[PeerStep]:
    """Builds its step with its own attention and with SDPA. Raises `PeerError`."""
    uses_flash = _can_use_flash(sizes)
    replaced = {} if uses_flash else _create_flash_modules()
    modules = import_modules(AUDIO_JEPA, folder, MODULES, replaced=replaced)
    own = modules[0].MHA if uses_flash else _adapt_attention(modules[1].Attention)
    name = "flash-attn" if uses_flash else "written-out attention"
    return [
        PeerStep(f"Audio-JEPA, {label}", _AudioJepaStep(modules, sizes, attention))
        for label, attention in ((name, own), ("SDPA", SdpaAttention))
    ]


class _AudioJepaStep:
    """Its model, optimiser and schedules; each call is a step."""

    def __init__(self, modules: list[ModuleType], sizes: PeerSizes, attention: Any) -> None:
        models, _, losses, masks, self._utils, rates, decays = modules
        self._sizes = sizes
        models.MHA = attention  # type: ignore[attr-defined]
        self._encoder, self._predictor = _build_models(models, sizes)
        self._target = copy.deepcopy(self._encoder).requires_grad_(requires_grad=False)
        self._loss = losses.Loss("norm_mse", norm_pix_loss=True)
        self._adam = torch.optim.AdamW(
            split_parameters([self._encoder, self._predictor]), lr=3e-4, betas=(0.9, 0.95)
        )
        with warnings.catch_warnings(action="ignore"):  # its schedule steps before the optimiser
            self._rates = rates.WarmupCosineScheduler(self._adam, 1000, 1e-6, 1e-3, MANY_STEPS)
            self._decays = decays.CosineWDScheduler(self._adam, 0.05, MANY_STEPS, 0.05)
        image = sizes.time * sizes.patch, sizes.freq * sizes.patch
        self._collator = masks.MaskCollator((HIDDEN, HIDDEN), image, (sizes.patch, sizes.patch))
        empty = torch.zeros(1)
        self._clips = [
            {"waveform": empty, "target": empty, "audio_name": "", "transformed_waveform": clip}
            for clip in sizes.draw_clips(sizes.time, sizes.freq)
        ]
        # on a GPU other processes draw
        self._drawn = None if sizes.device.type == "cpu" else self._collator(self._clips)

    def __call__(self) -> int:
        batch, device = self._drawn or self._collator(self._clips), self._sizes.device
        sounds = batch.spectrograms.to(device, non_blocking=True)
        context, targets = (
            [mask.to(device, non_blocking=True) for mask in masks]
            for masks in (batch.context_masks, batch.prediction_masks)
        )
        with self._sizes.autocast():
            predicted = self._predictor(self._encoder(sounds, context), context, targets)
            with torch.no_grad():
                wanted = self._utils.apply_masks(self._target(sounds), targets)
            loss = self._loss(predicted, wanted)
        loss.isnan().item()  # its step looks at every loss
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self._rates.step()
        self._decays.step()
        pairs = zip(self._encoder.parameters(), self._target.parameters(), strict=True)
        for learned, averaged in pairs:
            averaged.data = MOMENTUM * averaged.data + (1 - MOMENTUM) * learned.data
        return int(context[0].shape[1])


def _build_models(models: ModuleType, sizes: PeerSizes) -> tuple[nn.Module, nn.Module]:
    norm, patch = partial(nn.LayerNorm, eps=1e-6), (sizes.patch, sizes.patch)
    encoder = models.VisionTransformer(
        input_size=(sizes.time * sizes.patch, sizes.freq * sizes.patch),
        patch_size=patch,
        in_chans=1,
        embed_dim=sizes.encoder.dim,
        depth=sizes.encoder.layers,
        num_heads=sizes.encoder.heads,
        mlp_ratio=sizes.encoder.mlp_ratio,
        norm_layer=norm,
    )
    predictor = models.VisionTransformerPredictor(
        num_patches_h=sizes.time,
        num_patches_w=sizes.freq,
        embed_dim=sizes.encoder.dim,
        predictor_embed_dim=sizes.predictor.dim,
        depth=sizes.predictor.layers,
        num_heads=sizes.predictor.heads,
        mlp_ratio=sizes.predictor.mlp_ratio,
        norm_layer=norm,
    )
    return encoder.to(sizes.device), predictor.to(sizes.device)


def _adapt_attention(attention: type[nn.Module]) -> type[nn.Module]:
    """Gives its written-out attention, which also returns weights, the arguments of `MHA`."""

    class WrittenOutAttention(nn.Module):
        def __init__(
            self, embed_dim: int, num_heads: int, *, qkv_proj_bias: bool, **unused: Any
        ) -> None:
            super().__init__()
            self.attention = attention(embed_dim, num_heads, qkv_bias=qkv_proj_bias)

        def forward(self, tokens: Tensor) -> Tensor:
            attended: Tensor = self.attention(tokens)[0]
            return attended

    return WrittenOutAttention


def _can_use_flash(sizes: PeerSizes) -> bool:
    if sizes.device.type != "cuda" or sizes.precision != "bf16":
        return False
    return importlib.util.find_spec("flash_attn") is not None


def _create_flash_modules() -> dict[str, ModuleType]:
    """Creates empty modules in place of flash-attn, from which its code imports `MHA`."""
    parts = FLASH.split(".")
    names = [".".join(parts[: number + 1]) for number in range(len(parts))]
    modules = {name: ModuleType(name) for name in names}
    modules[FLASH].MHA = SdpaAttention  # type: ignore[attr-defined]
    return modules
