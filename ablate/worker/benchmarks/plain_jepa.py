"""A plain JEPA for dense batches, only to compare the cost of a training step with.

All samples have the same number of visible patches, chosen at random; nothing is packed, counted or
monitored. It has the sizes of a trial's own model.
"""

import copy
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

RATE, BETAS, DECAY, CLIP, MOMENTUM = 1e-3, (0.9, 0.95), 0.05, 3.0, 0.99


@dataclass(frozen=True)
class Sizes:
    """The sizes of one transformer."""

    dim: int
    layers: int
    heads: int
    mlp_ratio: float


class Block(nn.Module):
    """A pre-norm layer on (batch, tokens, dim)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim, hidden = sizes.dim, round(sizes.dim * sizes.mlp_ratio)
        self.heads = sizes.heads
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = rearrange(
            self.qkv(self.first(tokens)), "b n (three h d) -> three b h n d", three=3, h=self.heads
        )
        attended = F.scaled_dot_product_attention(*parts)
        tokens = tokens + self.out(rearrange(attended, "b h n d -> b n (h d)"))
        changed: Tensor = self.mlp(self.second(tokens))
        return tokens + changed


def _stack(sizes: Sizes) -> nn.Sequential:
    return nn.Sequential(*(Block(sizes) for _ in range(sizes.layers)), nn.LayerNorm(sizes.dim))


class PlainJEPA(nn.Module):
    """Predicts `targets` patches of each sample from `context` other patches."""

    def __init__(
        self, patches: int, pixels: int, context: int, targets: int, encoder: Sizes, narrow: Sizes
    ) -> None:
        super().__init__()
        self.patches, self.context, self.targets = patches, context, targets
        self.embed, self.encoder = nn.Linear(pixels, encoder.dim), _stack(encoder)
        self.narrow, self.predictor = nn.Linear(encoder.dim, narrow.dim), _stack(narrow)
        self.widen = nn.Linear(narrow.dim, encoder.dim)
        self.mask_token = nn.Parameter(torch.zeros(narrow.dim))
        self.register_buffer("place", torch.randn(patches, encoder.dim))
        self.register_buffer("narrow_place", torch.randn(patches, narrow.dim))
        self.place: Tensor
        self.narrow_place: Tensor
        self.teacher = copy.deepcopy(nn.ModuleList([self.embed, self.encoder]))
        self.teacher.requires_grad_(requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Takes (batch, patches, pixels); returns the loss, a scalar."""
        order = torch.rand(patches.shape[:2], device=patches.device).argsort(dim=1)
        seen = order[:, : self.context]
        targets = order[:, self.context : self.context + self.targets]
        context = patches.gather(1, seen.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        features = self.encoder(self.embed(context) + self.place[seen])
        narrow = self.narrow(features) + self.narrow_place[seen]
        tokens = torch.cat([narrow, self.mask_token + self.narrow_place[targets]], dim=1)
        predicted = self.widen(self.predictor(tokens)[:, self.context :])
        with torch.no_grad():
            embed, encoder = self.teacher
            encoded = encoder(embed(patches) + self.place)
            target = encoded.gather(1, targets.unsqueeze(-1).expand(-1, -1, encoded.shape[-1]))
            target = F.layer_norm(target.float(), target.shape[-1:])
        return F.smooth_l1_loss(predicted.float(), target)


class PlainStep:
    """Trains a plain JEPA by one step per call; with `bf16`, under autocast."""

    def __init__(self, jepa: PlainJEPA, precision: str) -> None:
        self._jepa = jepa
        self._precision = precision
        self._learned = [p for p in jepa.parameters() if p.requires_grad]
        self._adamw = torch.optim.AdamW(
            self._learned, lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True
        )

    def __call__(self, patches: Tensor) -> None:
        """Takes (batch, patches, pixels) on the device."""
        bf16 = self._precision == "bf16"
        with torch.autocast(patches.device.type, torch.bfloat16, enabled=bf16):
            loss = self._jepa(patches)
        loss.backward()
        nn.utils.clip_grad_norm_(self._learned, CLIP)
        self._adamw.step()
        self._adamw.zero_grad()
        with torch.no_grad():
            teacher: list[Tensor] = list(self._jepa.teacher.parameters())
            student: list[Tensor] = [
                *self._jepa.embed.parameters(),
                *self._jepa.encoder.parameters(),
            ]
            torch._foreach_lerp_(teacher, student, 1 - MOMENTUM)
