"""Settings that are searched to reach a requested share of context or targets."""

from pathlib import Path

import pytest

from ablate.config.loader import load
from ablate.design.factors import build_factors
from ablate.design.trials import build_trials
from ablate.mask_analysis.matching import has_match, resolve_matches
from ablate.mask_analysis.realised_shares import compute_realised_shares
from ablate.model.masking import AbstractMasker, Grid
from ablate.parts import PartError, build

SQUARES, STRIPS = Grid(4, 8), Grid(1, 32)
SHARES = ("context", "targets")
ROOT = Path(__file__).parents[2]


def masker(name, by, *, match=None, **settings):
    share = match or {"context": 0.406}
    return {"type": f"maskers.{name}", **settings, "match": {**share, "by": by}}


def resolve_one(settings, grid=SQUARES):
    resolved, [match] = resolve_matches(settings, grid)
    return resolved, match


@pytest.mark.parametrize("grid", [SQUARES, STRIPS], ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        masker("MultiBlock", "context_area"),
        masker("MultiBlock", "target_area"),
        masker("MultiBlock", "target_area", match={"targets": 0.5}),
        masker("Random", "ratio", ratio=[0.5, 0.6], match={"context": 0.42}),
    ],
    ids=str,
)
def test_the_value_gives_the_requested_share(settings, grid):
    resolved, match = resolve_one(settings, grid)
    wanted = settings["match"][match.share]
    part = build(resolved, expect=AbstractMasker)
    realised = compute_realised_shares(part, grid)[SHARES.index(match.share)]
    assert realised == pytest.approx(wanted, abs=0.005)
    assert match.reached == realised


def test_the_rounded_value_replaces_the_match():
    resolved, match = resolve_one(masker("MultiBlock", "context_area", num_targets=3))
    assert resolved["context_area"] == match.value == [round(end, 3) for end in match.value]
    assert resolved["num_targets"] == 3
    assert not has_match(resolved)


def test_a_pair_keeps_its_width():
    _, match = resolve_one(masker("MultiBlock", "context_area", context_area=[0.6, 0.7]))
    assert match.value[1] - match.value[0] == pytest.approx(0.1)


def test_the_search_is_reproducible():
    one, other = (resolve_one(masker("MultiBlock", "target_area"), STRIPS) for _ in range(2))
    assert one == other


def test_a_value_that_already_gives_the_share_is_kept():
    resolved, _ = resolve_one(masker("Random", "ratio", ratio=0.6))
    assert resolved["ratio"] == 0.6


def test_integers_stay_integers():
    wanted = {"targets": 0.31}
    _, match = resolve_one(masker("TimeFrequency", "num_targets", match=wanted), Grid(8, 64))
    assert (match.value, type(match.value)) == (6, int)


def test_a_match_may_name_a_setting_of_an_inner_masker():
    inner = {"start": {"type": "maskers.MultiBlock"}, "end": {"type": "maskers.TimeFrequency"}}
    settings = masker("Curriculum", "end.context_area", match={"context": 0.5}, **inner)
    resolved, match = resolve_one(settings, STRIPS)
    assert match.setting == "masker.end.context_area"
    assert resolved["end"]["context_area"] == match.value
    assert "context_area" not in resolved["start"]


def test_inner_maskers_are_matched_independently():
    ends = {"start": masker("MultiBlock", "context_area")}
    ends["end"] = masker("TimeFrequency", "context_area")
    resolved, matches = resolve_matches({"type": "maskers.Curriculum", **ends}, STRIPS)
    assert [match.setting.split(".")[1] for match in matches] == ["start", "end"]
    for end in ("start", "end"):
        context = compute_realised_shares(
            build(resolved[end], expect=AbstractMasker), STRIPS
        ).context
        assert context == pytest.approx(0.406, abs=0.005)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            masker("Random", "ratio", match={"context": 0.42}),
            r"context 42\.0 % cannot be reached by `ratio` on a grid of 4x8 patches: the nearest "
            r"shares that its values give are 40\.6 % \(0\.\d+\) and 43\.8 % \(0\.\d+\), and "
            r"all lie between 3\.1 % and 96\.9 %; match one that it gives",
        ),
        (
            masker("MultiBlock", "context_area", match={"context": 0.9}),
            "all lie between .* and 43.0 %",
        ),
        (masker("Random", "rati"), r"`by`: no setting `rati` \(did you mean `ratio`\?\)"),
        (masker("TimeFrequency", "axes"), "`axes` must be a number or a pair of numbers"),
        (masker("Random", "ratio", match={"contxt": 0.4}), "unknown key `contxt` of `match`"),
        (masker("Random", "ratio", match={"context": 0.4, "targets": 0.6}), "write `match:"),
        (masker("Random", "ratio", match={"context": 40}), "between 0 and 1; got 40"),
        ({"type": "maskers.Random", "match": 0.4}, "write `match:"),
    ],
    ids=str,
)
def test_an_impossible_match_is_rejected_with_a_reason(settings, message):
    with pytest.raises(PartError, match=message) as raised:
        resolve_matches(settings, SQUARES)
    [problem] = raised.value.problems
    assert problem.path == ("masker", "match")


def test_the_bundled_study_gives_every_masker_the_same_share_of_context():
    study = load(ROOT / "studies" / "masking.yaml")
    for trial in build_trials(study, build_factors(study))[:6]:
        grid = {"squares": SQUARES, "strips": STRIPS}[trial.levels["patchifier"]]
        resolved, _ = resolve_matches(trial.settings["masker"], grid)
        context = compute_realised_shares(build(resolved, expect=AbstractMasker), grid).context
        assert context == pytest.approx(13 / 32, abs=0.005)
