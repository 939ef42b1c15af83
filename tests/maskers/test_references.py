"""Shares of published masks, compared with our independent simulation of the published code.

Every figure is the mean of seeded draws. Its tolerance is at least three of our standard errors,
plus the error of the simulation where there was one.
"""

import math

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers.axes import TimeFrequency
from maskers.blocks import UnionComplement
from maskers.centred_spans import CentredSpans
from maskers.devices import EqualCounts
from maskers.legacy import LegacyMultiBlock
from maskers.regions import BlockWise, Clusters, InverseBlock
from maskers.spans import Spans
from maskers.strips import TimeFrequencyProduct, TimeFrequencyUnion
from maskers.wavjepa import WavJEPAInverse


def compute_context_shares(masker, grid, *, batch, draws):
    """Returns the share of the grid that is context, (draws, batch)."""
    drawn = [
        masker.draw(Clips.unpadded(grid, batch), generator(seed, "x")) for seed in range(draws)
    ]
    return torch.stack([mask.context.float().mean(dim=1) for mask in drawn])


@pytest.mark.parametrize(
    ("grid", "drawn", "truncated"),
    [
        (Grid(14, 14), 0.419, 0.269),  # images
        (Grid(8, 64), 0.155, 0.033),  # audio: 79 % of what is drawn is cut away
        (Grid(64, 8), 0.141, 0.029),
        (Grid(5, 38), 0.150, 0.063),
        (Grid(4, 62), 0.121, 0.049),
    ],
    ids=str,
)
def test_the_ijepa_collator_shows_little_of_an_audio_grid(grid, drawn, truncated):
    # facebookresearch/ijepa@52c1ae9 src/masks/multiblock.py, 64 clips a batch: the collator cuts
    # every sample to the fewest context patches of its batch. Standard errors of 200 batches are
    # at most 0.002 and 0.003, as sizes are shared by the batch.
    shares = compute_context_shares(LegacyMultiBlock(), grid, batch=64, draws=200)
    assert shares.mean() == pytest.approx(drawn, abs=0.006)
    assert shares.amin(dim=1).mean() == pytest.approx(truncated, abs=0.009 * truncated**0.5)


def test_the_ijepa_collator_keeps_mostly_the_lowest_rows_of_a_batch():
    grid = Grid(8, 64)
    kept = torch.zeros(grid.size)
    for seed in range(50):
        context = LegacyMultiBlock().draw(Clips.unpadded(grid, 64), generator(seed, "x")).context
        fewest = context.sum(dim=1).min()
        kept += (context & (context.cumsum(dim=1) <= fewest)).sum(dim=0)
    rows = kept.view(8, 64).sum(dim=1)
    assert rows[:4].sum() / rows.sum() > 0.95
    assert rows[-1] == 0


def test_the_ijepa_geometry_agrees_with_a_plain_loop_over_samples():
    # an independent implementation of the description: one sample at a time, drawn until it fits
    grid, rng = Grid(8, 64), generator(1, "loop")

    def uniform():
        return torch.rand((), generator=rng).item()

    def size(low, high, narrow, wide):
        draw = uniform()
        patches = int(grid.size * (low + draw * (high - low)))
        ratio = narrow + draw * (wide - narrow)
        height, width = round(math.sqrt(patches * ratio)), round(math.sqrt(patches / ratio))
        return min(height, grid.freq - 1), min(width, grid.time - 1)

    def block(height, width):
        top, left = int(uniform() * (grid.freq - height)), int(uniform() * (grid.time - width))
        cells = torch.zeros(grid.freq, grid.time, dtype=torch.bool)
        cells[top : top + height, left : left + width] = True
        return cells

    shares = []
    for _ in range(40):
        target, context = size(0.15, 0.2, 0.75, 1.5), size(0.85, 1.0, 1.0, 1.0)
        for _ in range(16):
            hidden = torch.stack([block(*target) for _ in range(4)]).any(dim=0)
            while (seen := block(*context) & ~hidden).sum() <= 10:
                pass
            shares.append(seen.float().mean().item())
    ours = compute_context_shares(LegacyMultiBlock(), grid, batch=64, draws=100)
    assert ours.mean() == pytest.approx(sum(shares) / len(shares), abs=0.015)  # 3 errors of 0.005


@pytest.mark.parametrize(
    ("ratio", "length", "columns", "realised", "spread"),
    [
        (0.65, 10, 500, 0.49, 0.03),
        (0.65, 10, 72, 0.50, 0.08),  # 4.68 spans: 4 or 5 of them
        (0.5, 5, 500, 0.41, 0.017),
    ],
)
def test_wav2vec_spans_hide_less_than_their_nominal_share(ratio, length, columns, realised, spread):
    # fairseq@3d262bb fairseq/data/data_utils.py, compute_mask_indices; standard error 0.002
    masker = Spans(ratio=ratio, length=length, count="nominal")
    shares = 1 - compute_context_shares(masker, Grid(1, columns), batch=2000, draws=1)
    assert shares.mean() == pytest.approx(realised, abs=0.008)
    assert shares.std() == pytest.approx(spread, abs=0.005)


def test_eat_shows_exactly_102_of_512_patches_fewer_of_them_at_the_edge_rows():
    # cwx-worst-one/EAT@06c1c34 utils/data_utils.py, compute_block_mask_2d
    grid = Grid(8, 64)
    context = InverseBlock().draw(Clips.unpadded(grid, 4000), generator(0, "x")).context
    assert (context.sum(dim=1) == 102).all()
    rows = context.view(-1, 8, 64).float().mean(dim=(0, 2))
    assert rows[[0, 7]].mean() == pytest.approx(0.15, abs=0.01)
    assert rows[[3, 4]].mean() == pytest.approx(0.23, abs=0.01)


@pytest.mark.parametrize("grid", [Grid(5, 13), Grid(5, 38)], ids=str)
def test_m2d_as_in_the_reference_code_keeps_more_than_its_ratio(grid):
    # nttcslab/m2d@f0c4128, random_structured at ratio 0.7: .354 over the two grids it is used on.
    # The numbers of lines are shared by the batch, so one sample per draw is enough; the standard
    # error of 3,000 is 0.0013.
    shares = compute_context_shares(
        TimeFrequencyUnion(as_in_reference_code=True), grid, batch=1, draws=3000
    )
    assert shares.mean() == pytest.approx(0.354, abs=0.01)
    corrected = compute_context_shares(TimeFrequencyUnion(), grid, batch=3000, draws=1)
    assert corrected.mean() == pytest.approx(0.30, abs=0.02)  # to the nearest column


def test_a_literal_a_jepa_empties_half_the_contexts_of_an_audio_grid():
    # no code was published; blocks as high as wide, in patches, and a context block of .85 to 1.
    # How sizes are rounded moves the figure between 45 % and 53 %; standard error 0.006.
    masker = TimeFrequency(axes="both", units="patches")
    mask = masker.draw_literal(Clips.unpadded(Grid(8, 64), 6000), generator(0, "x"))
    assert (~mask.context.any(dim=1)).float().mean() == pytest.approx(0.486, abs=0.02)


@pytest.mark.parametrize(
    ("grid", "axes"), [(Grid(8, 64), "time"), (Grid(16, 16), "time"), (Grid(16, 16), "both")]
)
def test_a_literal_a_jepa_empties_nothing_along_time_or_on_a_square(grid, axes):
    masker = TimeFrequency(axes=axes, units="patches")
    mask = masker.draw_literal(Clips.unpadded(grid, 4000), generator(0, "x"))
    assert mask.context.any(dim=1).all()


@pytest.mark.parametrize("sizes", ["sample", "batch"])
@pytest.mark.parametrize(("blocks", "area", "visible"), [(8, 0.15, 0.37), (2, 0.7, 0.19)])
def test_v_jepa_shows_a_third_and_a_fifth_of_an_image(blocks, area, visible, sizes):
    # facebookresearch/jepa@51c59d5 src/masks/multiblock3d.py; standard error at most 0.004
    masker = UnionComplement(num_blocks=blocks, area=area, sizes=sizes)
    shares = compute_context_shares(masker, Grid(14, 14), batch=32, draws=200)
    assert shares.mean() == pytest.approx(visible, abs=0.012)


def test_wavjepa_shows_a_fifth_of_two_seconds():
    # labhamlet/wavjepa@6f4e1b1 wavjepa/masking.py, 200 columns; standard error 0.001. Ours can
    # hide the last column too, which costs half a point.
    mask = WavJEPAInverse().draw(Clips.unpadded(Grid(1, 200), 4000), generator(0, "x"))
    share = mask.context.float().mean(dim=1)
    assert share.mean() == pytest.approx(0.196, abs=0.008)
    assert share.quantile(0.1) == pytest.approx(0.135, abs=0.008)
    assert mask.targets.float().mean() == pytest.approx(0.23, abs=0.005)
    assert mask.target_union.float().mean() == pytest.approx(0.64, abs=0.008)


def test_ssast_as_in_its_code_hides_the_first_row_half_as_often_and_reveals_the_last_patches():
    # YuanGongND/ssast@a1a3eec src/models/ast_models.py, gen_maskid_patch; standard error 0.002
    mask = Clusters(legacy=True).draw(Clips.unpadded(Grid(8, 64), 4000), generator(0, "x"))
    visits = mask.target_union.float().mean(dim=0)
    assert (mask.target_union.sum(dim=1) == 400).all()
    assert visits[:64].mean() == pytest.approx(0.42, abs=0.01)
    assert visits[256:384].mean() == pytest.approx(0.89, abs=0.01)
    assert visits[-16:].mean() == pytest.approx(0.64, abs=0.02)


def visit_shares(masker, grid, *, batch, batches):
    """Returns the mean shares of context and targets, and every patch's share of contexts."""
    masks = [
        masker.draw(Clips.unpadded(grid, batch), generator(seed, "x")) for seed in range(batches)
    ]
    context = torch.cat([mask.context for mask in masks]).float()
    targets = torch.cat([mask.target_union for mask in masks]).float()
    return context.mean().item(), targets.mean().item(), context.mean(dim=0)


@pytest.mark.parametrize(
    ("columns", "clips", "visible"),
    [(499, 21, 0.567), (779, 6, 0.539)],  # data2vec on AudioSet, wav2vec 2.0
)
def test_fairseq_shows_the_surplus_targets_of_a_device_again(columns, clips, visible):
    # facebookresearch/fairseq@3d262bb fairseq/data/data_utils.py:564, `require_same_masks`
    masker = EqualCounts(masker=Spans(count="nominal"), clips=clips, surplus="show_random")
    context, targets, _ = visit_shares(masker, Grid(1, columns), batch=4 * clips, batches=40)
    assert context == pytest.approx(visible, abs=0.004)
    assert context + targets == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("grid", "visible_shares"), [(Grid(14, 14), (0.233, 0.068)), (Grid(8, 64), (0.196, 0.439))]
)
def test_the_v_jepa_collator_cuts_each_kind_of_mask_by_itself(grid, visible_shares):
    # facebookresearch/jepa@51c59d5 src/masks/multiblock3d.py:197-201, 24 clips a device
    for (blocks, area), visible in zip(((8, 0.15), (2, 0.7)), visible_shares, strict=True):
        inner = UnionComplement(num_blocks=blocks, area=area, as_in_reference_code=True)
        masker = EqualCounts(masker=inner, clips=24)
        context, _, visits = visit_shares(masker, grid, batch=96, batches=60)
        assert context == pytest.approx(visible, abs=0.012)
        if grid.freq == 14 and blocks == 8:
            rows = visits.view(14, 14).mean(dim=1)
            assert rows[0] == pytest.approx(0.73, abs=0.03)
            assert rows[-1] == pytest.approx(0.05, abs=0.03)


def test_data2vec_2_hides_many_single_columns():
    # facebookresearch/fairseq@3d262bb fairseq/data/data_utils.py, `compute_block_mask_1d` with the
    # settings of examples/data2vec/config/v2/base_audio_only_task.yaml: 4,096 draws of 499 columns
    mask = CentredSpans().draw(Clips.unpadded(Grid(1, 499), 2048), generator(0, "x"))
    hidden = torch.nn.functional.pad(mask.target_union.long(), (1, 1)).diff(dim=1)
    starts, ends = (hidden == 1).nonzero()[:, 1], (hidden == -1).nonzero()[:, 1]
    runs = ends - starts
    assert (mask.target_union.sum(dim=1) == 249).all()
    assert runs.float().mean().item() == pytest.approx(4.38, abs=0.06)
    assert (runs == 1).float().mean().item() == pytest.approx(0.416, abs=0.01)
    assert mask.target_union[:, 0].float().mean().item() == pytest.approx(0.384, abs=0.035)


def test_beit_stops_between_70_and_75_of_an_image():
    # microsoft/unilm beit/masking_generator.py: 14x14, 75 patches; mean 74.5
    masker = BlockWise(ratio=75 / 196, as_in_reference_code=True)
    mask = masker.draw(Clips.unpadded(Grid(14, 14), 2048), generator(0, "x"))
    count = mask.target_union.sum(dim=1)
    assert count.max() <= 75
    assert count.float().mean().item() == pytest.approx(74.5, abs=0.2)


def test_audiomae_rounds_the_numbers_of_rows_and_columns_down():
    # facebookresearch/AudioMAE@bd60e29 models_mae.py: 100 of 8x64 patches with 0.6 and 0.5
    masker = TimeFrequencyProduct(time=0.6, freq=0.5, as_in_reference_code=True)
    mask = masker.draw(Clips.unpadded(Grid(8, 64), 8), generator(0, "x"))
    assert (mask.context.sum(dim=1) == 100).all()
