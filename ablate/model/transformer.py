"""The transformer on packed tokens that encoders and predictors share."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.core.random import generator
from ablate.model.attention import attend
from ablate.model.positions import Rotation
from ablate.model.segments import Segments

Norm = Literal["pre", "post"]


@dataclass(frozen=True)
class AttentionContext:
    """Attention segments and rotary angles of a batch."""

    segments: Segments
    rotation: Rotation | None = None


class Layer(nn.Module):
    """A transformer layer: attention within segments, then a two-layer perceptron, both residual.

    Layer norms come before each of the two (`pre`), or after each residual sum (`post`) as in
    Vaswani et al., 2017.
    """

    def __init__(self, dim: int, heads: int, hidden: int, norm: Norm = "pre") -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.activation = nn.GELU()
        self.contract = nn.Linear(hidden, dim)

    def forward(
        self, tokens: Tensor, attention: AttentionContext, path_factors: Tensor | None = None
    ) -> Tensor:
        """Maps `(tokens, dim)` to `(tokens, dim)`.

        `path_factors`, `(2, tokens, 1)`, scales the two residual branches: see `drop_path`.
        """
        if self.norm == "pre":
            tokens = tokens + scale_branch(
                self._attend(self.norm_attention(tokens), attention), path_factors, 0
            )
            return tokens + scale_branch(self._apply_mlp(self.norm_mlp(tokens)), path_factors, 1)
        attended = scale_branch(self._attend(tokens, attention), path_factors, 0)
        tokens = self.norm_attention(tokens + attended)
        normed: Tensor = self.norm_mlp(
            tokens + scale_branch(self._apply_mlp(tokens), path_factors, 1)
        )
        return normed

    def project_heads(self, tokens: Tensor, attention: AttentionContext) -> tuple[Tensor, Tensor]:
        """Returns queries and keys for `(tokens, dim)`, each `(tokens, heads, head dim)`."""
        normed = self.norm_attention(tokens) if self.norm == "pre" else tokens
        query, key, _ = split_heads(self.query_key_value(normed), self.heads, attention)
        return query, key

    def _attend(self, tokens: Tensor, attention: AttentionContext) -> Tensor:
        attended = self_attention(self.query_key_value(tokens), self.heads, attention)
        projected: Tensor = self.project(attended)
        return projected

    def _apply_mlp(self, tokens: Tensor) -> Tensor:
        changed: Tensor = self.contract(self.activation(self.expand(tokens)))
        return changed


class Layers(nn.ModuleList):
    """Layers applied one after the other.

    With `checkpoint_activations`, activations within a layer are recomputed in the backward pass
    instead of stored: a third more work for a fraction of the memory.
    """

    checkpoint_activations = False

    def outputs(
        self, tokens: Tensor, *inputs: object, path_factors: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns the output of each layer, first to last, each `(tokens, dim)`.

        Args:
            tokens: Input of the first layer, `(tokens, dim)`.
            inputs: Further inputs, passed to every layer.
            path_factors: `(layers, branches, tokens, 1)`; each layer gets its own slice.
        """
        outputs = []
        for index, layer in enumerate(self):
            own = None if path_factors is None else path_factors[index]
            if self.checkpoint_activations and torch.is_grad_enabled():
                # layers draw no random numbers themselves, so no random state need be stored
                tokens = checkpoint(
                    layer, tokens, *inputs, own, use_reentrant=False, preserve_rng_state=False
                )
            else:
                tokens = layer(tokens, *inputs, own)
            outputs.append(tokens)
        return tuple(outputs)


class Transformer(nn.Module):
    """Layers and a norm, from `(tokens, dim)` to `(tokens, dim)`.

    The norm comes after the last layer. With post-norm layers it comes before the first, as in
    BERT and wav2vec 2.0.
    """

    def __init__(
        self, dim: int, layers: int, heads: int, mlp_ratio: float, norm: Norm = "pre"
    ) -> None:
        super().__init__()
        hidden = round(dim * mlp_ratio)
        self.layers = Layers([Layer(dim, heads, hidden, norm) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self.norm_first = norm == "post"
        self._weights = sum(p.numel() for p in self.layers.parameters() if p.dim() == 2)

    def forward(self, tokens: Tensor, segments: Segments) -> Tensor:
        return self.outputs(tokens, AttentionContext(segments))[1]

    def outputs(
        self, tokens: Tensor, attention: AttentionContext, path_factors: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns the output of each layer for `(tokens, dim)`, and the normed last output.

        `path_factors`, `(layers, 2, tokens, 1)`, scales the residual branches: see `drop_path`.
        """
        tokens = self.input_norm(tokens)
        outputs = self.layers.outputs(tokens, attention, path_factors=path_factors)
        return outputs, outputs[-1] if self.norm_first else self.norm(outputs[-1])

    def input_norm(self, tokens: Tensor) -> Tensor:
        """Returns the input of the first layer, `(tokens, dim)`."""
        normed: Tensor = self.norm(tokens) if self.norm_first else tokens
        return normed

    def flops(self, segments: Segments) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""
        attention = 4 * segments.num_pairs * self.norm.weight.numel() * len(self.layers)
        return 2 * self._weights * segments.num_tokens + attention


def self_attention(query_key_value: Tensor, heads: int, attention: AttentionContext) -> Tensor:
    """Computes multi-head self-attention, from `(tokens, 3 * dim)` to `(tokens, dim)`."""
    query, key, value = split_heads(query_key_value, heads, attention)
    attended = attend(query, key, value, attention.segments)
    return rearrange(attended, "tokens heads dim -> tokens (heads dim)")


def split_heads(
    query_key_value: Tensor, heads: int, attention: AttentionContext
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns rotated queries and keys, and values, each `(tokens, heads, head dim)`."""
    # the backward pass of `unbind` is one copy; splitting along the first axis would take two
    query, key, value = rearrange(
        query_key_value, "tokens (parts heads dim) -> tokens parts heads dim", parts=3, heads=heads
    ).unbind(1)
    if attention.rotation is not None:
        query, key = attention.rotation(query), attention.rotation(key)
    return query, key, value


def checkpoint_activations(module: nn.Module) -> None:
    """Turns on activation checkpointing for all layers within `module`."""
    for inner in module.modules():
        if isinstance(inner, Layers):
            inner.checkpoint_activations = True


def check_width(dim: int, heads: int, layers: int) -> None:
    """Raises `ValueError` for a width that heads or sine-cosine positions cannot divide.

    Also for fewer than one layer or head.
    """
    if layers < 1 or heads < 1:
        raise ValueError(f"`layers` and `heads` must be at least 1; got {layers} and {heads}")
    if dim % heads or dim % 4 or dim < 4:
        raise ValueError(f"`dim` {dim} must be a multiple of 4 and of `heads` {heads}")


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Sets every parameter from a generator keyed by (seed, full parameter name).

    Models of one seed therefore share every weight whose name and shape agree. Matrices are
    Xavier-uniform, as in MAE; convolutions are uniform with variance 1 / fan-in; vectors named
    `weight`, as in norms, are 1; biases are 0. Embeddings, recognised by `embedding` in their
    name, are normal with standard deviation 0.02.
    """
    with torch.no_grad():
        for inner, parameter in module.named_parameters():
            rng = generator(seed, "init", f"{name}.{inner}")
            if "embedding" in inner:
                parameter.normal_(std=0.02, generator=rng)
            elif parameter.dim() == 2:
                bound = math.sqrt(6 / sum(parameter.shape))
                parameter.uniform_(-bound, bound, generator=rng)
            elif parameter.dim() > 2:
                bound = math.sqrt(3 / parameter[0].numel())
                parameter.uniform_(-bound, bound, generator=rng)
            else:
                parameter.fill_(1.0 if inner.rpartition(".")[2] == "weight" else 0.0)


def scale_branch(residual: Tensor, path_factors: Tensor | None, branch: int) -> Tensor:
    """Scales a residual branch, `(tokens, dim)`, by its row of `(branches, tokens, 1)`."""
    return residual if path_factors is None else residual * path_factors[branch]
