"""The transformer that encoders and predictors share, on packed tokens."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.core.random import generator
from ablate.model.attention import Segments, attend
from ablate.model.positions import Rotation

Norm = Literal["pre", "post"]


@dataclass(frozen=True)
class Scope:
    """What a layer must know of its tokens: whom they see, and how their places turn them."""

    segments: Segments
    rotation: Rotation | None = None


class Layer(nn.Module):
    """Attention within segments, then a two-layer perceptron, each added to what it was given.

    A norm stands before each of the two (`pre`), or after each sum (`post`) as in Vaswani et al.,
    2017.
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

    def forward(self, tokens: Tensor, scope: Scope, kept: Tensor | None = None) -> Tensor:
        """(tokens, dim) to (tokens, dim); `kept` (2, tokens, 1) multiplies what the two add."""
        if self.norm == "pre":
            tokens = tokens + times(self._attended(self.norm_attention(tokens), scope), kept, 0)
            return tokens + times(self._changed(self.norm_mlp(tokens)), kept, 1)
        attended = times(self._attended(tokens, scope), kept, 0)
        tokens = self.norm_attention(tokens + attended)
        normed: Tensor = self.norm_mlp(tokens + times(self._changed(tokens), kept, 1))
        return normed

    def _attended(self, tokens: Tensor, scope: Scope) -> Tensor:
        attended = self_attend(self.query_key_value(tokens), self.heads, scope)
        projected: Tensor = self.project(attended)
        return projected

    def _changed(self, tokens: Tensor) -> Tensor:
        changed: Tensor = self.contract(self.activation(self.expand(tokens)))
        return changed


class Layers(nn.ModuleList):
    """Layers one after the other.

    With `checkpoint_activations` their insides are computed again in the backward pass instead
    of kept from the forward one: a third more work for a fraction of the memory.
    """

    checkpoint_activations = False

    def outputs(
        self, tokens: Tensor, *given: object, kept: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns what each layer gives for (tokens, dim), first to last, each (tokens, dim).

        A layer is called with what the one before it gave, with all that is `given`, and with its
        own part of `kept`, (layers, branches, tokens, 1).
        """
        outputs = []
        for index, layer in enumerate(self):
            own = None if kept is None else kept[index]
            if self.checkpoint_activations and torch.is_grad_enabled():
                # layers draw no chance of their own, so no random state need be kept
                tokens = checkpoint(
                    layer, tokens, *given, own, use_reentrant=False, preserve_rng_state=False
                )
            else:
                tokens = layer(tokens, *given, own)
            outputs.append(tokens)
        return tuple(outputs)


class Transformer(nn.Module):
    """Layers and a norm: (tokens, dim) to (tokens, dim).

    The norm is the last thing; with layers that are normed after each sum it is the first, as in
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
        return self.outputs(tokens, Scope(segments))[1]

    def outputs(
        self, tokens: Tensor, scope: Scope, kept: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns what each layer gives for (tokens, dim), and the last of it normed.

        `kept` (layers, 2, tokens, 1) multiplies what each layer adds: see `drop_path`.
        """
        if self.norm_first:
            outputs = self.layers.outputs(self.norm(tokens), scope, kept=kept)
            return outputs, outputs[-1]
        outputs = self.layers.outputs(tokens, scope, kept=kept)
        return outputs, self.norm(outputs[-1])

    def flops(self, segments: Segments) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""
        attention = 4 * segments.pairs * self.norm.weight.numel() * len(self.layers)
        return 2 * self._weights * segments.total + attention


def self_attend(query_key_value: Tensor, heads: int, scope: Scope) -> Tensor:
    """Lets tokens attend to one another: (tokens, 3 * dim) to (tokens, dim)."""
    query, key, value = rearrange(
        query_key_value, "tokens (parts heads dim) -> parts tokens heads dim", parts=3, heads=heads
    )
    if scope.rotation is not None:
        query, key = scope.rotation(query), scope.rotation(key)
    attended = attend(query, key, value, scope.segments)
    return rearrange(attended, "tokens heads dim -> tokens (heads dim)")


def checkpoint_activations(module: nn.Module) -> None:
    """Lets all layers within `module` be computed again in the backward pass."""
    for inner in module.modules():
        if isinstance(inner, Layers):
            inner.checkpoint_activations = True


def check_width(dim: int, heads: int, layers: int) -> None:
    """Raises `ValueError` for a width that heads and sine-cosine positions cannot share out.

    And for fewer than one layer or head.
    """
    if layers < 1 or heads < 1:
        raise ValueError(f"`layers` and `heads` must be at least 1; got {layers} and {heads}")
    if dim % heads or dim % 4 or dim < 4:
        raise ValueError(f"`dim` {dim} must be a multiple of 4 and of `heads` {heads}")


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Sets every parameter from (seed, its full name): models share what agrees in name and shape.

    Matrices are Xavier-uniform, as in MAE; convolutions uniform with the variance that keeps
    that of their input (one over what a value is summed from); weights that are vectors, as norms
    have them, are 1; biases 0. Embeddings, recognised by the name `embedding`, are normal with
    deviation 0.02.
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


def times(added: Tensor, kept: Tensor | None, branch: int) -> Tensor:
    """Multiplies what a branch adds, (tokens, dim), by its row of `kept`, (branches, tokens, 1)."""
    return added if kept is None else added * kept[branch]
