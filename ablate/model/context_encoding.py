"""Encodes a visible part of each sample, whether the encoder drops or replaces hidden patches."""

from dataclasses import dataclass

from torch import Tensor

from ablate.core.random import StepRandom
from ablate.model.encoder import Encoded, Encoder
from ablate.model.packing import Packing, find_rows, real_rows
from ablate.model.prediction_query import PredictionQuery


@dataclass(frozen=True, kw_only=True)
class VisibleTokens:
    """Features of the visible part of each sample."""

    encoded: Encoded
    packing: Packing  # the encoder's input: the visible part alone, or every valid patch
    query: PredictionQuery
    includes_hidden: bool  # the input was every valid patch, with the hidden ones replaced

    def select(self, part: Tensor) -> Tensor:
        """Returns the features of some of the input patches, `(tokens, dim)`, without filler.

        Args:
            part: bool `(samples, patches)` on the CPU. An encoder that drops hidden patches has
                features of the visible part only: `part` must then be that part, and is not read.
        """
        return self.select_from(self.encoded.tokens, part)

    def select_from(self, tokens: Tensor, part: Tensor) -> Tensor:
        """Like `select`, for rows derived from the encoder's `tokens` or from one layer's."""
        if self.includes_hidden:
            return tokens.index_select(0, find_rows(part, self.query.sample_valid, tokens.device))
        if self.packing.segments.filler is not None:
            return tokens.index_select(0, real_rows(self.packing, tokens.device))
        return tokens


def encode_visible(
    encoder: Encoder,
    patches: Tensor,
    visible: Packing,
    query: PredictionQuery,
    *,
    rng: StepRandom | None = None,
) -> VisibleTokens:
    """Encodes the patches that `visible` packs, of `(clips, patches, pixels)`.

    `rng` holds the random numbers of the step, for an encoder that is being trained.
    """
    packing = input_packing(encoder, visible, query)
    if encoder.hidden == "drop":
        encoded = encoder(patches, packing, rng=rng)
        return VisibleTokens(encoded=encoded, packing=packing, query=query, includes_hidden=False)
    encoded = encoder(patches, packing, hidden=_mark_hidden(visible, packing), rng=rng)
    return VisibleTokens(encoded=encoded, packing=packing, query=query, includes_hidden=True)


def input_packing(encoder: Encoder, visible: Packing, query: PredictionQuery) -> Packing:
    """Returns what the encoder receives: the visible patches alone, or every valid patch."""
    return visible if encoder.hidden == "drop" else query.sample_patches


def _mark_hidden(visible: Packing, packing: Packing) -> Tensor:
    """Marks the tokens of `packing` that are not visible, bool `(tokens,)`."""
    samples = len(packing.segments.lengths)
    is_visible = packing.index.new_zeros(samples * packing.patches)
    is_visible = is_visible.index_fill(0, visible.index, 1)
    return is_visible.index_select(0, packing.index) == 0
