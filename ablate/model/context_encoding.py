"""Showing an encoder a part of each sample, whether it drops what is hidden or replaces it."""

from dataclasses import dataclass

from torch import Tensor

from ablate.core.random import StepRandom
from ablate.model.encoder import Encoded, Encoder
from ablate.model.packing import Packing, real_rows, rows_of
from ablate.model.prediction_query import Question


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an encoder made of a part of each sample."""

    encoded: Encoded
    packing: Packing  # what it was given: the part alone, or every real patch
    question: Question
    replaced: bool  # it was given every real patch, and told which were hidden

    def at(self, part: Tensor) -> Tensor:
        """Returns the features of some of the patches it was given, (tokens, dim), no filler.

        `part` is bool (samples, patches) on the CPU. An encoder that drops has features of what it
        was shown and no other: `part` must be just that, and is not looked at.
        """
        return self.part_of(self.encoded.tokens, part)

    def part_of(self, tokens: Tensor, part: Tensor) -> Tensor:
        """Does as `at`, with rows that are made from its `tokens` or from a layer's."""
        if self.replaced:
            return tokens.index_select(0, rows_of(part, self.question.real, tokens.device))
        if self.packing.segments.filler is not None:
            return tokens.index_select(0, real_rows(self.packing, tokens.device))
        return tokens


def show(
    encoder: Encoder,
    patches: Tensor,
    part: Packing,
    question: Question,
    *,
    rng: StepRandom | None = None,
) -> Shown:
    """Shows the patches that `part` packs, of (clips, patches, pixels).

    `rng` is that of the step, for an encoder that is being trained.
    """
    whole = given(encoder, part, question)
    if encoder.hidden == "drop":
        encoded = encoder(patches, part, rng=rng)
        return Shown(encoded=encoded, packing=part, question=question, replaced=False)
    hidden = _hidden(part, whole)
    encoded = encoder(patches, whole, hidden=hidden, rng=rng)
    return Shown(encoded=encoded, packing=whole, question=question, replaced=True)


def given(encoder: Encoder, part: Packing, question: Question) -> Packing:
    """Returns what an encoder is given to show it a part: that alone, or every real patch."""
    if encoder.hidden == "drop":
        return part
    return question.every


def _hidden(part: Packing, whole: Packing) -> Tensor:
    """Marks what `whole` holds and `part` does not, bool (tokens of `whole`,)."""
    samples = len(whole.segments.lengths)
    seen = whole.index.new_zeros(samples * whole.patches).index_fill(0, part.index, 1)
    return seen.index_select(0, whole.index) == 0
