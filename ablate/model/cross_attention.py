"""A predictor whose mask tokens attend to the context alone, and not to one another.

As the cross-attention decoder of CrossMAE: Fu et al., "Rethinking Patch Dependence for Masked
Autoencoders", 2024. https://arxiv.org/abs/2401.14391
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.attention import Segments
from ablate.model.device import on_device
from ablate.model.masking import Grid
from ablate.model.packing import spread
from ablate.model.positions import sine_cosine
from ablate.model.prediction_query import Question
from ablate.model.predictor import (
    AbstractNarrow,
    MaskToken,
    Predictor,
    mask_embedding,
    mask_tokens,
)


@dataclass(frozen=True, kw_only=True)
class CrossAttention(AbstractNarrow):
    """Narrow layers of attention from every target patch to the context of its sample."""

    mask_token: MaskToken = "learned"  # what stands in for a hidden patch

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return CrossAttentionPredictor(self, grid, dim, target_dim)


class CrossAttentionPredictor(Predictor):
    """Mask tokens with positions, which attend to context features with positions."""

    def __init__(self, settings: CrossAttention, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        hidden = self._hidden = round(settings.dim * settings.mlp_ratio)
        self.narrow = nn.Linear(dim, settings.dim)
        self.mask_embedding = mask_embedding(settings.mask_token, settings.dim)
        self.noisy = settings.mask_token == "noise"
        self.norm_context = nn.LayerNorm(settings.dim)
        self.layers = nn.ModuleList(
            [CrossLayer(settings.dim, settings.heads, hidden) for _ in range(settings.layers)]
        )
        self.norm = nn.LayerNorm(settings.dim)
        self.widen = nn.Linear(settings.dim, target_dim)
        positions = settings.position_scale * sine_cosine(grid, settings.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, features: Tensor, question: Question) -> Tensor:
        seen = self.narrow(features) + self.positions[question.context.place]
        seen = self.norm_context(seen)
        tokens = mask_tokens(self.mask_embedding, self.positions, question, noisy=self.noisy)
        tokens = tokens.to(seen.dtype)
        for layer in self.layers:
            tokens = layer(tokens, seen, question.asked.segments, question.context.segments)
        predicted: Tensor = self.widen(self.norm(tokens))
        return predicted

    def flops(self, question: Question) -> int:
        asked, seen = question.asked.segments, question.context.segments
        dim = self.norm.weight.numel()
        pairs = sum(a * b for a, b in zip(asked.lengths, seen.lengths, strict=True))
        ends = self.narrow.weight.numel() * seen.total + self.widen.weight.numel() * asked.total
        per_layer = 2 * dim * dim * (asked.total + seen.total)  # query, project; key, value
        per_layer += 2 * dim * pairs
        per_layer += 2 * dim * self._hidden * asked.total
        return 2 * (ends + per_layer * len(self.layers))


class CrossLayer(nn.Module):
    """Attention to what is seen, then a two-layer perceptron, each normed before and added.

    Takes (asked tokens, dim) and (context tokens, dim), normed already; gives (asked tokens, dim).
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, seen: Tensor, asked: Segments, context: Segments) -> Tensor:
        query = self.query(self.norm_attention(tokens))
        attended = _attend_across(query, self.key_value(seen), asked, context, heads=self.heads)
        tokens = tokens + self.project(attended)
        changed: Tensor = self.contract(F.gelu(self.expand(self.norm_mlp(tokens))))
        return tokens + changed


def _attend_across(
    query: Tensor, key_value: Tensor, asked: Segments, context: Segments, *, heads: int
) -> Tensor:
    """Attends from (asked tokens, dim) to (context tokens, 2 * dim) of the same sample.

    Keys come before values in the last axis. Gives (asked tokens, dim). Both rows are filled up to
    their longest sample; that filler is not attended to, and is taken out again.
    """
    cells = rearrange(
        spread(query, asked), "samples tokens (heads dim) -> samples heads tokens dim", heads=heads
    )
    key, value = rearrange(
        spread(key_value, context),
        "samples tokens (parts heads dim) -> parts samples heads tokens dim",
        parts=2,
        heads=heads,
    )
    real = on_device(context.real, query.device)[:, None, None, :]
    attended = F.scaled_dot_product_attention(cells, key, value, attn_mask=real)
    rows = rearrange(attended, "samples heads tokens dim -> (samples tokens) (heads dim)")
    if len(rows) == asked.total:
        return rows
    return rows.index_select(0, on_device(asked.rows, rows.device))
