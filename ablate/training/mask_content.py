"""What content-aware maskers read of the model that is being trained.

It is computed at the step whose masks are drawn, with the weights of that step, for the global
batch: a resumed run draws the same masks, and so do all ranks.
"""

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.core.random import StepRandom, generator
from ablate.model.jepa import JEPA
from ablate.model.mask_sampling import choose
from ablate.model.masking import Mask, Needs
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import Packing, pack


def compute_model_content(
    needs: Needs,
    jepa: JEPA,
    objective: AbstractObjective,
    patches: Tensor,
    valid: Tensor,
    rng: StepRandom,
    progress: float = 0.0,
) -> Tensor:
    """Computes features, attention or losses of the patches of some clips, without gradient.

    Args:
        needs: What the masker needs: anything but `patches`.
        jepa: The model, with the weights of the step.
        objective: The objective, for losses.
        patches: `(clips, patches, pixels)` on the training device.
        valid: bool `(clips, patches)` on the CPU.
        rng: Random numbers of the step.
        progress: The share of training that is done, in [0, 1].

    Returns:
        float32 `(clips, patches, dim)` on the CPU; zero for padding. `dim` is 1 for attention and
        losses.
    """
    with torch.no_grad():
        if needs == "loss":
            losses = measure_patch_losses(jepa, objective, patches, valid, rng, progress)
            jepa.target.discard_pending()  # the step has not begun
            return losses.unsqueeze(-1).cpu()
        packing = pack(valid, patches.device)
        if needs == "attention":
            tokens = jepa.probed_encoder.measure_attention(patches, packing).unsqueeze(-1)
        else:
            tokens = jepa.probed_encoder(patches, packing).tokens
        return scatter_tokens(tokens.float(), packing).cpu()


def measure_patch_losses(
    jepa: JEPA,
    objective: AbstractObjective,
    patches: Tensor,
    valid: Tensor,
    rng: StepRandom,
    progress: float,
) -> Tensor:
    """Measures how well each patch is predicted from half of the others, `(clips, patches)`.

    The valid patches of each clip are divided into two random halves, and each is predicted from
    the other. The losses are those of `objective` before they are averaged, in float32. Padding
    has 0, and so has a patch without others in its clip. The arguments are those of
    `compute_model_content`.
    """
    count = valid.sum(dim=1)
    halves = generator(rng.seed, "halves", rng.step)
    first = choose(count // 2, among=valid, generator=halves)
    second = valid & ~first
    is_alone = valid & (count == 1).unsqueeze(1)
    first |= is_alone  # predicted from itself, since no sample may be empty, and not counted
    losses = torch.zeros(valid.shape, device=patches.device)
    for context, target in ((first, second), (second, first)):
        mask = Mask(context, target.unsqueeze(1))
        prediction = jepa(patches, mask, valid, rng=rng, progress=progress)
        with torch.autocast(patches.device.type, enabled=False):  # as in training
            distance = objective.distance(prediction.predicted, prediction.target, prediction.query)
        losses.view(-1).index_copy_(0, prediction.query.targets.index, distance.float())
    return losses.masked_fill_(on_device(is_alone, patches.device), 0.0)


def scatter_tokens(tokens: Tensor, packing: Packing) -> Tensor:
    """Arranges `(tokens, dim)` as `(samples, patches, dim)`, with zeros elsewhere."""
    samples = len(packing.segments.lengths)
    content = tokens.new_zeros(samples * packing.patches, tokens.shape[1])
    content.index_copy_(0, packing.index, tokens)
    return content.view(samples, packing.patches, -1)
