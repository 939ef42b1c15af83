"""Trials with one fingerprint are run once, and the plan lists them."""

from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.design import dedupe
from ablate.design.trials import PlannedTrial
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.runs import preview
from ablate.study import run as study

ROOT = Path(__file__).parents[2]
BASELINE = """\
study: image_jepa
baseline:
  extends: tiny.yaml
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 2
    valid_per_class: 1
    test_per_class: 1
  objective:
    type: my_objectives.Flat
    use_projector: true
    hidden_dim: 2048
    output_dim: 2048
    std_coeff: 1.0
    cov_coeff: 1.0 # the published value, 80, is not in the grid
seeds: [1, 1000, 10000]
"""
BASELINE_OF_TWO_PARTS = BASELINE.replace(
    "my_objectives.Flat\n    use_projector: true", "my_objectives.Projected"
)
# The grid that facebookresearch/eb_jepa publishes in examples/image_jepa/cfgs/default.yaml (commit
# 966e61e): 2 x 7 x 7 x 3 x 4 settings, 3 seeds, 3,528 jobs; it varies the sizes of the projector
# even without a projector
SIZES = "[64, 128, 256, 512, 1024, 2048, 4096]"
FLAT = f"""\
factors:
  objective.use_projector: [true, false]
  objective.hidden_dim: {SIZES}
  objective.output_dim: {SIZES}
  objective.std_coeff: [1.0, 10.0, 100.0]
  objective.cov_coeff: [0.1, 1.0, 10.0, 100.0]
"""
NESTED = f"""\
factors:
  objective:
    projector:
      type: my_objectives.Projected
      hidden_dim: 2048
      output_dim: 2048
      std_coeff: 1.0
      cov_coeff: 1.0
    none: {{type: my_objectives.Plain}}
  objective.hidden_dim: {SIZES}
  objective.output_dim: {SIZES}
  objective.std_coeff: [1.0, 10.0, 100.0]
  objective.cov_coeff: [0.1, 1.0, 10.0, 100.0]
"""
OBJECTIVES = '''\
"""Objectives with the settings of eb_jepa: as one part with a switch, and as two parts."""

from dataclasses import dataclass, field

from ablate.model.objectives import AbstractObjective
from ablate.parts import MATTERS_IF

PROJECTED = {MATTERS_IF: {"use_projector": True}}


class Weighted(AbstractObjective):
    def distance(self, predicted, target):
        return (predicted - target).square().mean(dim=-1)

    def units(self, mask):
        return len(mask.context)


@dataclass(frozen=True, kw_only=True)
class Flat(Weighted):
    use_projector: bool = True
    hidden_dim: int = field(default=2048, metadata=PROJECTED)
    output_dim: int = field(default=2048, metadata=PROJECTED)
    std_coeff: float = 1.0
    cov_coeff: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Plain(Weighted):
    std_coeff: float = 1.0
    cov_coeff: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Projected(Plain):
    hidden_dim: int = 2048
    output_dim: int = 2048
'''


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def prepare(
    tmp_path: Path, cache: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> study.PreparedStudy:
    (tmp_path / "my_objectives.py").write_text(OBJECTIVES)
    (tmp_path / "study.yaml").write_text(text)
    tiny = (ROOT / "studies" / "recipes" / "scale" / "tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(tiny)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    with Pool(cache, size=1) as pool:
        return study.prepare(loader.load(tmp_path / "study.yaml"), pool, create_console())


@pytest.mark.parametrize(
    ("text", "switch"),
    [
        (BASELINE + FLAT, "objective.use_projector is false"),
        (BASELINE_OF_TWO_PARTS + NESTED, "objective is none"),
    ],
    ids=["a switch", "two parts"],
)
def test_the_grid_of_eb_jepa_is_1800_trials_and_not_3528(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, text: str, switch: str
) -> None:
    prepared = prepare(tmp_path, cache, text, monkeypatch)
    fingerprints = [trial.fingerprint for trial in prepared.trials]
    assert len(fingerprints) == len(set(fingerprints)) == 1800
    [merged] = prepared.plan.merged
    assert (merged.num_kept, merged.num_combinations) == (12, 588)
    assert 3 * (len(prepared.trials) // 3 - merged.num_kept + merged.num_combinations) == 3528
    lines = preview.format_summary(prepared.plan, prepared.find_pending(tmp_path / "runs"))
    assert (
        "  588 combinations reduce to 12: `objective.hidden_dim`, `objective.output_dim` have no "
        f"effect where {switch}"
    ) in lines


def test_a_setting_that_no_level_has_is_an_error_with_its_place(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = BASELINE_OF_TWO_PARTS + NESTED
    text = text.replace("objective.hidden_dim", "objective.hiden")
    message = r"study.yaml:25: `objective.hiden`: no level .* has a setting `hiden`"
    with pytest.raises(StudyError, match=message):
        prepare(tmp_path, cache, text, monkeypatch)


def trial(fingerprint: str, seed: int = 0, **levels: str) -> PlannedTrial:
    return PlannedTrial(levels, seed, {}, fingerprint)


def merge(*trials: PlannedTrial) -> list[tuple[dict[str, str], int]]:
    names = dict.fromkeys(name for one in trials for name in one.levels)
    varied: list[Any] = [type("Named", (), {"name": name}) for name in names]
    kept = dedupe.drop_idle_factors(varied, list(trials))
    return [(one.levels, one.num_combinations) for one in kept]


def test_a_factor_with_an_effect_beside_a_level_is_kept() -> None:
    trials = [trial("x", a="1", b="1"), trial("x", a="1", b="2"), trial("y", a="1", b="3")]
    assert merge(*trials) == [(one.levels, 1) for one in trials]


def test_a_factor_without_an_effect_beside_a_level_is_dropped() -> None:
    trials = [trial("x", a="1", b="1"), trial("x", a="1", b="2"), trial("y", a="2", b="1")]
    assert merge(*trials) == [({"a": "1"}, 2), ({"a": "2", "b": "1"}, 1)]


def test_trials_of_different_seeds_are_not_merged() -> None:
    trials = [trial(f"x{seed}", seed, a=level) for seed in (0, 1) for level in "12"]
    assert merge(*trials) == [({}, 2), ({}, 2)]


def test_remaining_duplicates_are_listed() -> None:
    trials = [trial("x", a="1", b="1"), trial("x", a="1", b="2"), trial("y", a="1", b="3")]
    assert dedupe.find_duplicates(trials) == [("1, 1", "1, 2")]


def test_an_added_baseline_takes_the_name_of_the_level_that_equals_it() -> None:
    """Also where the design has that level only beside some levels of the other factors."""
    trials = [
        trial("00", a="baseline", b="0"),
        trial("10", a="one", b="0"),
        trial("00", a="same", b="0"),
        trial("01", a="baseline", b="1"),
    ]
    level = dedupe.Factor("a", dict.fromkeys(("baseline", "one", "same")), "baseline", added=True)
    other = dedupe.Factor("b", dict.fromkeys("01"), "0")
    (factor, _), kept = dedupe.merge_equal_levels([level, other], trials)
    assert (factor.baseline, list(factor.levels)) == ("same", ["one", "same"])
    assert [tuple(one.levels.values()) for one in kept] == [
        ("one", "0"),
        ("same", "0"),
        ("same", "1"),
    ]
