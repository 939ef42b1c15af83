"""The protocol says what was trained and probed, without what no user wrote."""

from dataclasses import replace

from ablate.core.records.plan import SeedPurposes
from ablate.report.pages.methods import write_protocol
from tests.report.conftest import StudyBuilder

VIEWS = {"type": "ablate.probing.views.Views", "poolings": ["mean", "mean_std"]}


def test_versions_digests_and_paths_are_not_among_the_settings_of_a_probe(
    builder: StudyBuilder,
) -> None:
    results = builder.results()
    name = results.trials[0].probe_key[0]
    probe = {
        "type": "ablate.probing.linear.Logistic",
        "version": 2,
        "label_procedure": 2,
        "content": {"digest": "0123456789abcdef"},
        "shots": 5,
        "label_share": None,
        "views": VIEWS,
    }
    plan = replace(results.plan, probes={**results.plan.probes, name: probe})
    design = write_protocol(replace(results, plan=plan))[0]
    assert "the probe Logistic (shots 5, views Views (poolings [mean, mean_std]), " in design
    for hidden in ("version", "procedure", "0123", "label_share", "None", "ablate."):
        assert hidden not in design


def test_purposes_that_are_held_are_listed_apart_from_those_that_vary(
    builder: StudyBuilder,
) -> None:
    results = builder.results()
    held = SeedPurposes(varied=("init", "masks"), held=("order", "probe"))
    design = write_protocol(replace(results, plan=replace(results.plan, separate_seeds=held)))[0]
    assert "varied: initial weights, masks; held" in design
    assert "held at one seed in every trial: order of clips, fine-tuning of the probe. " in design
    assert "only; held: order of clips, fine-tuning of the probe. " in design
    assert "all trials share the data order; variants of the same seed share every " in design
    plain = write_protocol(results)[0]
    assert "variants of the same seed share the data order and every initial weight " in plain
