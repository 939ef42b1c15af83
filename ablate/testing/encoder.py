"""Tests that an encoder keeps the promises of its contract."""

import copy
from itertools import pairwise

import torch
from torch import Tensor

from ablate.core.random import StepRandom, generator
from ablate.model.encoder import AbstractEncoder, Encoded, Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack, pad
from ablate.model.transformer import initialise
from ablate.testing.cases import forbid_global_generators

CLIPS = 3
GRID = Grid(4, 8)


def check_encoder(
    encoder: AbstractEncoder, *, grid: Grid = GRID, pixels: int = 16, tolerance: float = 1e-4
) -> None:
    """Tests an encoder against every promise of `AbstractEncoder` and `Encoder`.

    Args:
        encoder: Settings of the encoder; small ones keep the test fast.
        grid: The grid to build it for.
        pixels: Values per patch.
        tolerance: Greatest difference between two computations of the same feature.

    Raises:
        AssertionError: For the first broken promise.
        ValueError: If the encoder cannot be built for the grid.

    Example:
        >>> import ablate
        >>> from ablate.model.vit import ViT
        >>> ablate.check_encoder(ViT(dim=16, layers=2, heads=2))
    """
    built = encoder.build(grid, pixels)
    assert isinstance(built, Encoder), f"`build` gives {type(built).__name__}, not an Encoder"
    initialise(built, 0, "encoder")
    assert built.hidden in ("drop", "replace"), f"`hidden` is {built.hidden!r}"
    patches = torch.randn(CLIPS, grid.size, pixels, generator=generator(0, "patches"))
    member = torch.rand(CLIPS, grid.size, generator=generator(0, "member")) < 0.6
    member[:, 0] = True
    packing = pack(member)
    with forbid_global_generators(), torch.no_grad():
        encoded = _check_output(encoder, built, patches, packing)
        _check_samples_apart(built, patches, packing, encoded, tolerance)
        _check_selection(built, patches, member, encoded, tolerance)
        _check_copies(built, patches, tolerance)
        _check_positions(built, patches, packing, encoded)
        _check_random_numbers(built, patches, member, tolerance)
        _check_copy(built, patches, packing, encoded)
        if built.hidden == "drop":
            _check_padding(built, patches, member, encoded, tolerance)
        else:
            _check_hidden(built, patches, packing, tolerance)
    _check_gradients(built, patches, packing)
    _check_flops(built, packing)


def _check_output(
    settings: AbstractEncoder, built: Encoder, patches: Tensor, packing: Packing
) -> Encoded:
    before = patches.clone()
    state = {name: value.clone() for name, value in built.state_dict().items()}
    encoded: Encoded = built(patches, packing)
    again = built(patches, packing)
    assert torch.equal(patches, before), "the patches were changed in place"
    changed = [name for name, value in built.state_dict().items() if not value.equal(state[name])]
    assert not changed, f"a forward pass changes {', '.join(changed)}"
    shape, expected = tuple(encoded.tokens.shape), (packing.segments.num_tokens, built.dim)
    assert shape == expected, f"tokens are {shape}, not (tokens, dim) {expected}"
    assert encoded.tokens.isfinite().all(), "tokens are not finite"
    assert torch.equal(encoded.tokens, again.tokens), "without `rng` two calls give two results"
    assert encoded.layers, "`layers` is empty; it holds the output of each layer"
    assert all(layer.shape == encoded.tokens.shape for layer in encoded.layers), (
        "the output of a layer has another shape than the tokens"
    )
    declared = getattr(settings, "layers", None)
    assert declared in (None, len(encoded.layers)), (
        f"the settings declare {declared} layers, but {len(encoded.layers)} are given"
    )
    for lower, upper in pairwise(encoded.layers):
        assert not torch.equal(lower, upper), "two layers have one output"
    has_summary = bool(getattr(settings, "summary", False))
    assert has_summary == (encoded.summary is not None), (
        f"the settings say `summary: {str(has_summary).lower()}`, the output says otherwise"
    )
    if encoded.summary is not None:
        summary = tuple(encoded.summary.shape)
        assert summary == (CLIPS, built.dim), f"the summary is {summary}, not (samples, dim)"
    drawn = [built(patches, packing, rng=StepRandom(0, step)).tokens for step in (1, 1)]
    assert torch.equal(*drawn), "one `rng` gave two results; draw random numbers from it"
    return encoded


def _check_samples_apart(
    built: Encoder, patches: Tensor, packing: Packing, encoded: Encoded, tolerance: float
) -> None:
    for sample in range(CLIPS):
        changed = 1.0 - 2.0 * patches
        changed[sample] = patches[sample]
        own = packing.owner == sample
        same = built(changed, packing).tokens[own]
        assert _agree(same, encoded.tokens[own], tolerance), (
            "features of a sample depend on the other samples of the batch"
        )


def _check_selection(
    built: Encoder, patches: Tensor, member: Tensor, encoded: Encoded, tolerance: float
) -> None:
    changed = torch.where(member.unsqueeze(-1), patches, 1e3)
    assert _agree(built(changed, pack(member)).tokens, encoded.tokens, tolerance), (
        "features depend on patches that the packing does not select"
    )
    alone = pack(member[:1])
    tokens = built(patches[:1], alone).tokens
    assert _agree(tokens, encoded.tokens[: len(tokens)], tolerance), (
        "features of a sample alone differ from those within a batch"
    )
    single = torch.zeros_like(member).index_fill(1, torch.tensor([1]), 1)
    assert built(patches, pack(single)).tokens.isfinite().all(), (
        "features of a single visible patch are not finite"
    )


def _check_copies(built: Encoder, patches: Tensor, tolerance: float) -> None:
    """Tests that each of a clip's several masks selects patches of that clip."""
    member = torch.rand(2 * CLIPS, patches.shape[1], generator=generator(0, "copies")) < 0.6
    member[:, 0] = True
    expected = built(patches.repeat_interleave(2, dim=0), pack(member)).tokens
    assert _agree(built(patches, pack(member, copies=2)).tokens, expected, tolerance), (
        "features of several masks per clip are not those of its patches; use `packing.gather`"
    )


def _check_random_numbers(
    built: Encoder, patches: Tensor, member: Tensor, tolerance: float
) -> None:
    """Tests that random numbers of a clip do not depend on how its batch is divided."""
    expected = built(patches, pack(member), rng=StepRandom(0, 1)).tokens
    rest = built(patches[1:], pack(member[1:]), rng=StepRandom(0, 1, first=1)).tokens
    assert _agree(rest, expected[-len(rest) :], tolerance), (
        "random numbers of a clip depend on how its batch is divided; draw them by `rng.uniform`"
    )


def _check_flops(built: Encoder, packing: Packing) -> None:
    flops = built.flops(packing)
    assert isinstance(flops, int), f"`flops` gives {flops!r}, not an integer"
    assert flops > 0, f"`flops` gives {flops}, which is not positive"
    fewer = built.flops(pack(torch.ones(1, packing.patches, dtype=torch.bool)[:, :2]))
    assert fewer < flops, "`flops` does not grow with the number of tokens"


def _check_positions(built: Encoder, patches: Tensor, packing: Packing, encoded: Encoded) -> None:
    """Tests that features depend on the content of the patches and on where these are."""
    assert not _agree(built(patches + 1.0, packing).tokens, encoded.tokens, 1e-6), (
        "features do not depend on the patches"
    )
    same = patches[:, :1].expand(-1, patches.shape[1], -1)
    tokens = built(same, packing).tokens[packing.owner == 0]
    assert not _agree(tokens, tokens[:1].expand_as(tokens), 1e-6), (
        "equal patches at different places have equal features; add positions"
    )
    first, second = (
        torch.zeros(1, patches.shape[1]).index_fill(1, torch.tensor(places), 1).bool()
        for places in ((0, 1), (2, 5))
    )
    one, other = (built(same[:1], pack(part)).tokens for part in (first, second))
    assert not _agree(one, other, 1e-6), (
        "features depend on the order of the tokens, and not on where on the grid they are; use "
        "`packing.place`"
    )


def _check_copy(built: Encoder, patches: Tensor, packing: Packing, encoded: Encoded) -> None:
    copied = copy.deepcopy(built)
    copied.load_state_dict(built.state_dict())
    assert torch.equal(copied(patches, packing).tokens, encoded.tokens), (
        "a copy with the same weights gives other features; keep all state in parameters or buffers"
    )


def _check_padding(
    built: Encoder, patches: Tensor, member: Tensor, encoded: Encoded, tolerance: float
) -> None:
    padded = pad(member)
    real = padded.segments.rows
    tokens = built(patches, padded).tokens.index_select(0, real)
    assert _agree(tokens, encoded.tokens, tolerance), "filler tokens change the features of others"


def _check_hidden(built: Encoder, patches: Tensor, packing: Packing, tolerance: float) -> None:
    hidden = torch.arange(packing.segments.num_tokens) % 2 == 1
    before = built(patches, packing, hidden=hidden).tokens
    cells = torch.zeros(patches.shape[:2]).flatten().index_fill(0, packing.index[hidden], 1).bool()
    changed = torch.where(cells.view(patches.shape[:2]).unsqueeze(-1), 1e3, patches)
    assert _agree(built(changed, packing, hidden=hidden).tokens, before, tolerance), (
        "features depend on the content of hidden patches"
    )
    unhidden = built(patches, packing).tokens
    assert not _agree(unhidden, before, 1e-6), "`hidden` changes nothing"
    assert _agree(
        built(patches, packing, hidden=torch.zeros_like(hidden)).tokens, unhidden, tolerance
    ), "features differ where no token is hidden"
    both = before[hidden & (packing.owner == 0)]
    assert not _agree(both, both[:1].expand_as(both), 1e-6), (
        "hidden tokens at different places have equal features; keep their positions"
    )


def _check_gradients(built: Encoder, patches: Tensor, packing: Packing) -> None:
    hidden = None
    if built.hidden == "replace":
        hidden = torch.arange(packing.segments.num_tokens) % 2 == 1
    encoded = built(patches, packing, hidden=hidden)
    loss = encoded.tokens.square().sum() + encoded.tokens.sum()
    if encoded.summary is not None:
        loss = loss + encoded.summary.square().sum()
    loss.backward()
    missing = [n for n, p in built.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, f"no gradient reaches {', '.join(missing)}"


def _agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return torch.allclose(one, other, atol=tolerance, rtol=tolerance)
