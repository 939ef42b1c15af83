"""A plan as plain data: what `plan.json` holds and a report is made from."""

from collections.abc import Iterable, Mapping
from typing import Any

from ablate.config.study import Study
from ablate.design import dedupe, warnings
from ablate.design.factors import Factor
from ablate.design.trials import PlannedTrial, variant_of


def summary(
    study: Study,
    varied: Iterable[Factor],
    trials: Iterable[PlannedTrial],
    answer: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns a plan as plain data; `answer` is what a worker said of the trials and their data."""
    varied, trials = list(varied), list(trials)
    return {
        "study": study.name,
        "title": study.title,
        "text": study.source,
        "file": str(study.file),
        "overrides": list(study.overrides),
        "seeds": list(study.seeds),
        "design": study.design.kind,
        "match_budget": study.match_budget,
        "factors": {factor.name: list(factor.levels) for factor in varied},
        "baseline": {factor.name: factor.baseline for factor in varied},
        "merged": dedupe.merged(varied, trials),
        "duplicates": dedupe.duplicates(trials),
        "score": _view(study.score),
        "evaluate": evaluate(study),
        "report": study.report.model_dump(),
        "notes": study.notes,
        "probes": answer["probes"],
        "data": answer["data"],
        "warnings": _warnings(trials),
        "trials": [
            {
                **trial.plan,
                "levels": trial.levels,
                "seed": trial.seed,
                "fingerprint": trial.fingerprint,
                "settings": trial.settings,
                **({"probe": trial.probe} if trial.probe else {}),
                "twin": trial.plan["twin"]["fingerprint"],
                "statistics": trial.plan["statistics"]["fingerprint"],
            }
            for trial in trials
        ],
    }


def score(study: Study, trials: Iterable[PlannedTrial]) -> dict[str, Any]:
    """Says which probes give trials their score, and under which pooling."""
    usual = _view(study.score)
    probes = dict.fromkeys(trial.probe or usual["probe"] for trial in trials)
    return {"probes": [*probes], "pooling": usual["pooling"]}


def evaluate(study: Study) -> dict[str, Any] | None:
    """Says how encoders are scored while they are trained; None where the study does not ask."""
    asked = study.evaluate
    if asked is None:
        return None
    return {"every": asked.every, "clips": asked.clips, **_view(asked.score)}


def _view(score: str) -> dict[str, str]:
    probe, _, pooling = score.partition(".")
    return {"probe": probe, "pooling": pooling}


def _warnings(trials: Iterable[PlannedTrial]) -> list[str]:
    """Warns of levels that differ in more than their shape, and of masks that give answers away.

    All seeds of a variant are alike.
    """
    variants = {tuple(trial.levels.items()): trial for trial in trials}.values()
    shares = [
        warnings.MaskShares(
            levels=trial.levels,
            context=trial.plan.get("context"),
            targets=trial.plan.get("targets"),
        )
        for trial in variants
    ]
    drawn = [
        warnings.MaskOverlap(
            variant=variant_of(trial.levels.values()),
            overlap=trial.plan.get("overlap"),
            forced_overlap=trial.plan.get("forced_overlap"),
            changed=trial.plan.get("changed"),
        )
        for trial in variants
    ]
    return [*warnings.share_warnings(shares), *warnings.overlap_warnings(drawn)]
