"""The transformer that encoders and predictors share, on packed tokens."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ablate.chance import generator
from ablate.model.attention import Segments, attend


class Layer(nn.Module):
    """One pre-norm layer: attention within segments, then a two-layer perceptron."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.activation = nn.GELU()
        self.contract = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor, segments: Segments) -> Tensor:
        query, key, value = rearrange(
            self.query_key_value(self.norm_attention(tokens)),
            "tokens (parts heads dim) -> parts tokens heads dim",
            parts=3,
            heads=self.heads,
        )
        attended = attend(query, key, value, segments)
        tokens = tokens + self.project(
            rearrange(attended, "tokens heads dim -> tokens (heads dim)")
        )
        changed: Tensor = self.contract(self.activation(self.expand(self.norm_mlp(tokens))))
        return tokens + changed


class Transformer(nn.Module):
    """Layers and a last norm: (tokens, dim) to (tokens, dim)."""

    def __init__(self, dim: int, layers: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = round(dim * mlp_ratio)
        self.layers = nn.ModuleList([Layer(dim, heads, hidden) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self._weights = sum(p.numel() for p in self.layers.parameters() if p.dim() == 2)

    def forward(self, tokens: Tensor, segments: Segments) -> Tensor:
        return self.outputs(tokens, segments)[1]

    def outputs(self, tokens: Tensor, segments: Segments) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns what each layer gives, and the last of it normed."""
        layers = []
        for layer in self.layers:
            tokens = layer(tokens, segments)
            layers.append(tokens)
        return tuple(layers), self.norm(tokens)

    def flops(self, segments: Segments) -> int:
        """Counts the operations of one forward pass: 2 per multiply-add of every product."""
        attention = 4 * segments.pairs * self.norm.weight.numel() * len(self.layers)
        return 2 * self._weights * segments.total + attention


def check_width(dim: int, heads: int, layers: int) -> None:
    """Refuses a width that heads and sine-cosine positions cannot share out."""
    if layers < 1 or heads < 1:
        raise ValueError(f"`layers` and `heads` must be at least 1; got {layers} and {heads}")
    if dim % heads or dim % 4 or dim < 4:
        raise ValueError(f"`dim` {dim} must be a multiple of 4 and of `heads` {heads}")


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Sets every parameter from (seed, its full name): models share what agrees in name and shape.

    Matrices are Xavier-uniform, as in MAE; vectors of norms are 1; biases 0. Embeddings,
    recognised by the name `embedding`, are normal with deviation 0.02.
    """
    with torch.no_grad():
        for inner, parameter in module.named_parameters():
            chance = generator(seed, "init", f"{name}.{inner}")
            if "embedding" in inner:
                parameter.normal_(std=0.02, generator=chance)
            elif parameter.dim() == 2:
                bound = math.sqrt(6 / sum(parameter.shape))
                parameter.uniform_(-bound, bound, generator=chance)
            else:
                parameter.fill_(1.0 if "norm" in inner and inner.endswith("weight") else 0.0)
