"""A predictor whose mask tokens attend to the context only, not to one another.

The cross-attention decoder of CrossMAE: Fu et al., "Rethinking Patch Dependence for Masked
Autoencoders", 2024. https://arxiv.org/abs/2401.14391
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.device import on_device
from ablate.model.masking import Grid
from ablate.model.packing import pad_segments
from ablate.model.positions import sine_cosine
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractNarrow, MaskToken, Predictor, mask_embedding, mask_tokens
from ablate.model.segments import Segments


@dataclass(frozen=True, kw_only=True)
class CrossAttention(AbstractNarrow):
    """Narrow layers of cross-attention from every target patch to the context of its sample.

    Args:
        dim: Width of the predictor's tokens.
        layers: Number of layers.
        heads: Number of attention heads per layer.
        mlp_ratio: Hidden width of the feed-forward modules, relative to `dim`.
        position_scale: Factor of the added sine-cosine positions.
        mask_token: Placeholder of a hidden patch, to which its position is added: a learned vector,
            zero, or noise.

    Example:
        predictor: {type: ablate.model.cross_attention.CrossAttention, dim: 192, layers: 6}
    """

    mask_token: MaskToken = "learned"

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return CrossAttentionPredictor(self, grid, dim, target_dim)


class CrossAttentionPredictor(Predictor):
    """Cross-attention from mask tokens to context features, both with positions."""

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

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        context = self.narrow(features) + self.positions[query.context.place]
        context = self.norm_context(context)
        tokens = mask_tokens(self.mask_embedding, self.positions, query, noisy=self.noisy)
        tokens = tokens.to(context.dtype)
        for layer in self.layers:
            tokens = layer(tokens, context, query.query_tokens.segments, query.context.segments)
        predicted: Tensor = self.widen(self.norm(tokens))
        return predicted

    def flops(self, query: PredictionQuery) -> int:
        queries, context = query.query_tokens.segments, query.context.segments
        dim = self.norm.weight.numel()
        pairs = sum(a * b for a, b in zip(queries.lengths, context.lengths, strict=True))
        ends = self.narrow.weight.numel() * context.num_tokens
        ends += self.widen.weight.numel() * queries.num_tokens
        per_layer = 2 * dim * dim * queries.num_tokens  # query and output projections
        per_layer += 2 * dim * dim * context.num_tokens  # key and value projections
        per_layer += 2 * dim * pairs
        per_layer += 2 * dim * self._hidden * queries.num_tokens
        return 2 * (ends + per_layer * len(self.layers))


class CrossLayer(nn.Module):
    """Cross-attention to the context, then a two-layer perceptron, both pre-norm and residual.

    Maps `(query tokens, dim)` and normed context features `(context tokens, dim)` to
    `(query tokens, dim)`.
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

    def forward(
        self, tokens: Tensor, context: Tensor, queries: Segments, context_segments: Segments
    ) -> Tensor:
        query, key_value = self.query(self.norm_attention(tokens)), self.key_value(context)
        attended = _cross_attention(query, key_value, queries, context_segments, heads=self.heads)
        tokens = tokens + self.project(attended)
        changed: Tensor = self.contract(F.gelu(self.expand(self.norm_mlp(tokens))))
        return tokens + changed


def _cross_attention(
    query: Tensor, key_value: Tensor, queries: Segments, context: Segments, *, heads: int
) -> Tensor:
    """Computes attention from `(query tokens, dim)` to `(context tokens, 2 * dim)` per sample.

    Keys come before values in the last axis. Both sequences are padded to their longest sample;
    padding is masked out, and removed from the result, `(query tokens, dim)`.
    """
    cells = rearrange(
        pad_segments(query, queries),
        "samples tokens (heads dim) -> samples heads tokens dim",
        heads=heads,
    )
    key, value = rearrange(
        pad_segments(key_value, context),
        "samples tokens (parts heads dim) -> parts samples heads tokens dim",
        parts=2,
        heads=heads,
    )
    real = on_device(context.real, query.device)[:, None, None, :]
    attended = F.scaled_dot_product_attention(cells, key, value, attn_mask=real)
    rows = rearrange(attended, "samples heads tokens dim -> (samples tokens) (heads dim)")
    if len(rows) == queries.num_tokens:
        return rows
    return rows.index_select(0, on_device(queries.rows, rows.device))
