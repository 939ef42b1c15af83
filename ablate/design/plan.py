"""Builds the plan of a study from its validated trials."""

from collections.abc import Iterable, Sequence

from ablate.config.study import Study
from ablate.core.records.plan import (
    EvaluatePlan,
    ReportSettings,
    ScoreView,
    SeedPurposes,
    StudyPlan,
    TrialEntry,
)
from ablate.core.records.planning import PlanReply
from ablate.design import dedupe, warnings
from ablate.design.factors import Factor
from ablate.design.trials import PlannedTrial, join_labels


def build_plan(
    study: Study, varied: Sequence[Factor], trials: Sequence[PlannedTrial], reply: PlanReply
) -> StudyPlan:
    """Builds the plan; `reply` is the worker's reply about the trials and their data."""
    return StudyPlan(
        study=study.name,
        title=study.title,
        description="\n".join(study.description.strip().splitlines()[1:]).strip(),
        text=study.source,
        file=str(study.file),
        overrides=tuple(study.overrides),
        seeds=tuple(study.seeds),
        separate_seeds=_build_seed_purposes(study),
        design=study.design.kind,
        match_budget=study.match_budget,
        factors={factor.name: tuple(factor.levels) for factor in varied},
        baseline={factor.name: factor.baseline for factor in varied},
        merged=tuple(dedupe.list_merged_factors(varied, trials)),
        duplicates=tuple(dedupe.find_duplicates(trials)),
        score=_parse_score(study.score),
        evaluate=build_evaluate(study),
        report=ReportSettings(**study.report.model_dump()),
        notes=dict(study.notes),
        probes=reply.probes,
        data=reply.data,
        warnings=tuple(_find_warnings(trials)),
        trials=tuple(map(_build_entry, trials)),
    )


def list_scores(study: Study, trials: Iterable[PlannedTrial]) -> tuple[ScoreView, ...]:
    """Lists the scores by which trials are judged: the study's, or one per probe it varies."""
    default = _parse_score(study.score)
    probes = dict.fromkeys(trial.probe or default.probe for trial in trials)
    return tuple(ScoreView(probe=probe, pooling=default.pooling) for probe in probes)


def build_evaluate(study: Study) -> EvaluatePlan | None:
    """Returns how encoders are scored while they are trained; None if they are not."""
    if study.evaluate is None:
        return None
    score = _parse_score(study.evaluate.score)
    return EvaluatePlan(
        every=study.evaluate.every,
        clips=study.evaluate.clips,
        probe=score.probe,
        pooling=score.pooling,
    )


def _build_seed_purposes(study: Study) -> SeedPurposes | None:
    separate = study.separate_seeds
    if separate is None:
        return None
    return SeedPurposes(varied=tuple(separate.varied), held=separate.held, crossed=separate.crossed)


def _parse_score(score: str) -> ScoreView:
    probe, _, pooling = score.partition(".")
    return ScoreView(probe=probe, pooling=pooling)


def _build_entry(trial: PlannedTrial) -> TrialEntry:
    resolved = trial.get_resolved()
    return TrialEntry(
        levels=trial.levels,
        seed=trial.seed,
        fingerprint=trial.fingerprint,
        settings=trial.settings,
        random_init=resolved.random_init.fingerprint,
        further_inits=tuple(further.fingerprint for further in resolved.further_inits),
        statistics=resolved.statistics.fingerprint,
        facts=resolved.facts,
        probe=trial.probe,
        crosses=trial.crosses,
    )


def _find_warnings(trials: Iterable[PlannedTrial]) -> list[str]:
    """Finds unequal visible shares, overlapping masks, heads of slow widths, unfitting clips.

    All seeds of a variant have the same masks, so one seed is enough.
    """
    variants = {tuple(trial.levels.values()): trial for trial in trials}
    facts = [(trial.levels, trial.get_resolved().facts) for trial in variants.values()]
    shares = [
        warnings.MaskShares(levels=levels, context=fact.context, targets=fact.targets)
        for levels, fact in facts
    ]
    overlaps = [
        warnings.MaskOverlap(
            variant=join_labels(levels.values()),
            overlap=fact.overlap,
            forced_overlap=fact.forced_overlap,
            changed=fact.changed,
        )
        for levels, fact in facts
    ]
    notes = dict.fromkeys(note for _, fact in facts for note in fact.notes)
    settings = [(join_labels(levels), trial.settings) for levels, trial in variants.items()]
    return [
        *warnings.share_warnings(shares),
        *warnings.overlap_warnings(overlaps),
        *warnings.head_width_warnings(settings),
        *notes,
    ]
