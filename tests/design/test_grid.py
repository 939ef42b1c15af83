"""The combinations of a design, compared with a plain loop over all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.loader import load
from ablate.config.study import StudyError
from ablate.design import factors, grid

BASELINE = """\
study: designs
baseline:
  masker: {type: maskers.Random, ratio: 0.6}
  patchifier: {type: P}
  encoder: {type: E, dim: 64}
  optimizer: {rate: 1.0e-3}
seeds: 1
"""
TWO = """\
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    block: {type: maskers.MultiBlock}
    spans: {type: maskers.Spans}
  encoder.dim: [64, 128]
"""


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def enumerate_text(text: str) -> list[tuple[dict[str, str], int]]:
    Path("study.yaml").write_text(BASELINE + text)
    study = load(Path("study.yaml"))
    return grid.enumerate_combinations(study.design, factors.build_factors(study))


def list_labels(text: str) -> list[tuple[str, ...]]:
    return [tuple(levels.values()) for levels, _ in enumerate_text(text)]


def load_error(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        enumerate_text(text)
    return str(caught.value)


def test_a_grid_has_every_combination() -> None:
    assert len(list_labels(TWO)) == 6


def test_one_factor_changes_one_level_of_the_baseline_at_a_time() -> None:
    assert list_labels(TWO + "design: one_factor\n") == [
        ("random", "64"),
        ("block", "64"),
        ("spans", "64"),
        ("random", "128"),
    ]


def test_leave_one_out_removes_one_factor_at_a_time_from_the_full_method() -> None:
    text = """\
design: leave_one_out
factors:
  masker: {block: {type: maskers.MultiBlock}}
  encoder.dim: [64, 128]
  optimizer.rate: [1.0e-3, 2.0e-3]
"""
    assert list_labels(text) == [
        ("block", "128", "0.002"),
        ("baseline", "128", "0.002"),
        ("block", "64", "0.002"),
        ("block", "128", "0.001"),
    ]


def test_leave_one_out_compares_with_the_full_method() -> None:
    enumerate_text("design: leave_one_out\nfactors:\n  encoder.dim: [64, 128]\n")
    (factor,) = factors.build_factors(load(Path("study.yaml")))
    assert factor.baseline == "128"


def test_with_leave_one_out_baseline_means_the_level_of_the_studys_baseline() -> None:
    text = """\
design: leave_one_out
factors: {encoder.dim: [64, 128], optimizer.rate: [1.0e-3, 2.0e-3]}
exclude: [{encoder.dim: baseline, optimizer.rate: 0.002}]
"""
    assert list_labels(text) == [("128", "0.002"), ("128", "0.001")]


def test_leave_one_out_needs_one_level_per_factor() -> None:
    assert "study.yaml:9: `design: leave_one_out` needs one level" in load_error(
        "factors:\n  masker:\n    block: {type: B}\n    spans: {type: S}\ndesign: leave_one_out\n"
    )


def test_a_list_has_the_baseline_and_the_named_variants() -> None:
    text = TWO + "design: list\nvariants: [{masker: block, encoder.dim: 128}, {masker: spans}]\n"
    assert list_labels(text) == [("random", "64"), ("block", "128"), ("spans", "64")]


def test_zipped_factors_vary_together() -> None:
    text = TWO + "  optimizer.rate: [1.0e-3, 5.0e-4]\nzip: [[encoder.dim, optimizer.rate]]\n"
    assert [levels for levels, _ in enumerate_text(text)][:2] == [
        {"masker": "random", "encoder.dim + optimizer.rate": "64 + 0.001"},
        {"masker": "random", "encoder.dim + optimizer.rate": "128 + 0.0005"},
    ]
    assert len(list_labels(text)) == 6


def test_a_label_that_zipped_factors_share_is_used_once() -> None:
    levels = "{a: {type: A}, b: {type: B}}"
    text = f"factors:\n  masker: {levels}\n  encoder: {levels}\nzip: [[masker, encoder]]\n"
    assert ("a",) in list_labels(text)


def test_a_zipped_factor_may_repeat_a_value() -> None:
    rates = "optimizer.rate: {one: 1.0e-3, other: 1.0e-3}"
    text = f"{TWO}  {rates}\nzip: [[encoder.dim, optimizer.rate]]\n"
    assert ("random", "128 + other") in list_labels(text)
    assert "`one` and `other` of factor `optimizer.rate` are the same" in load_error(
        text.replace("zip:", "# zip:")
    )


def test_excluded_combinations_are_left_out() -> None:
    text = TWO + "exclude: [{masker: [block, spans], encoder.dim: 128}]\n"
    assert list_labels(text) == [
        ("random", "64"),
        ("random", "128"),
        ("block", "64"),
        ("spans", "64"),
    ]


def test_a_condition_may_name_either_of_two_zipped_factors() -> None:
    text = TWO + "  optimizer.rate: [1.0e-3, 5.0e-4]\nzip: [[encoder.dim, optimizer.rate]]\n"
    assert len(list_labels(text + "exclude: [{optimizer.rate: 0.0005}]\n")) == 3


def test_a_factor_varies_only_where_its_condition_holds() -> None:
    text = TWO + "when: {encoder.dim: {masker: [random, block]}}\n"
    levels = enumerate_text(text)
    assert ({"masker": "spans"}, 2) in levels
    assert len(levels) == 5


def test_conditions_on_a_factor_that_does_not_vary_do_not_hold() -> None:
    text = """\
  optimizer.rate: [1.0e-3, 5.0e-4]
when: {encoder.dim: {masker: block}, optimizer.rate: {encoder.dim: 128}}
"""
    assert [levels for levels, _ in enumerate_text(TWO + text)] == [
        {"masker": "random"},
        {"masker": "block", "encoder.dim": "64"},
        {"masker": "block", "encoder.dim": "128", "optimizer.rate": "0.001"},
        {"masker": "block", "encoder.dim": "128", "optimizer.rate": "0.0005"},
        {"masker": "spans"},
    ]


def test_settings_inside_a_part_that_is_switched_off_do_not_vary() -> None:
    text = "factors:\n  encoder.head: {on: {type: H}, off: null}\n  encoder.head.dim: [1, 2, 3]\n"
    levels = enumerate_text(text)
    assert ({"encoder.head": "off"}, 4) in levels  # three levels, and that of the baseline


@given(
    st.lists(st.integers(1, 3), min_size=2, max_size=4),
    st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=4), max_size=3),
)
def test_a_grid_agrees_with_a_loop_over_all_combinations(
    sizes: list[int], exclusions: Sequence[Sequence[int]]
) -> None:
    names = [f"encoder.f{i}" for i in range(len(sizes))]
    clauses = [
        {name: min(level, size - 1) for name, size, level in zip(names, sizes, one, strict=False)}
        for one in exclusions
    ]
    text = "factors:\n" + "".join(
        f"  {name}: [{', '.join(map(str, range(size)))}]\n"
        for name, size in zip(names, sizes, strict=True)
    )
    encoder = "{type: E, " + ", ".join(f"{name.split('.')[1]}: 0" for name in names) + "}"
    base = BASELINE.replace("{type: E, dim: 64}", encoder)
    if clauses:
        text += f"exclude: {clauses}\n".replace("'", "")
    Path("study.yaml").write_text(base + text)
    study = load(Path("study.yaml"))
    expected: list[dict[str, Any]] = [{}]
    for name, size in zip(names, sizes, strict=True):
        expected = [{**one, name: level} for one in expected for level in range(size)]
    expected = [e for e in expected if not any(c.items() <= e.items() for c in clauses)]
    wanted = [{name: str(level) for name, level in one.items()} for one in expected]
    if not wanted:
        with pytest.raises(StudyError, match="every combination"):
            grid.enumerate_combinations(study.design, factors.build_factors(study))
    else:
        combinations = grid.enumerate_combinations(study.design, factors.build_factors(study))
        assert [levels for levels, _ in combinations] == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "design: gird\n",
            "study.yaml:14: unknown value `gird` of `design` (did you mean `grid`?)",
        ),
        ("design: list\n", "study.yaml:14: `design: list` and its list, `variants`, go together"),
        (
            "when: {maskr: {encoder.dim: 64}}\n",
            "`when` names no factor of the study: `maskr` (did",
        ),
        ("when: {masker: {masker: block}}\n", "factor `masker` cannot depend on itself"),
        ("exclude: [{masker: blok}]\n", "factor `masker` has no level `blok` (did you mean `blo"),
        (
            "exclude: {masker: block}\n",
            "study.yaml:14: `exclude` must be a list: combinations to leave out",
        ),
        (
            "zip: [[masker, encoder.dim]]\n",
            "equal numbers of levels: masker has 3, encoder.dim has 2",
        ),
        ("zip: [masker]\n", "`zip` must list groups of two or more factors"),
        ("zip: [[masker, masker]]\n", "a factor can be zipped only once; got ['masker', 'masker']"),
        ("exclude: [{masker: [random, block, spans]}]\n", "`exclude` leaves out every combination"),
        (
            "design: one_factor\nexclude: [{encoder.dim: 64}]\n",
            "`exclude` leaves out what all variants are compared with",
        ),
    ],
)
def test_an_invalid_design_is_an_error_with_its_place(text: str, message: str) -> None:
    assert message in load_error(TWO + text)


def test_a_grid_that_could_not_be_listed_is_rejected() -> None:
    factors = ", ".join(f"encoder.a{i}: {list(range(10))}" for i in range(9))
    with pytest.raises(StudyError, match=r"\d{10} combinations of levels; a grid may have"):
        enumerate_text(f"factors: {{{factors}}}")
