"""Records every interim analysis ("look") of a study: how many seeds its report had.

The log lies among the runs, in `runs/looks/STUDY-QUESTION.json`, and not beside the report: a
report may be deleted and written again, but it has been seen. Deleting the runs deletes the log,
since runs that are trained again from the same seeds give the same results. Other variants,
settings or another score are another question with its own log; variants that were added to a
question after a look at it are listed in the plan.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.config.loader import TRY
from ablate.config.seeds import SeedGrowth
from ablate.core.records.looks import ComparedScore, LookLog
from ablate.core.records.plan import Look, RecordedLooks, StudyPlan
from ablate.design.trials import join_labels

FOLDER = "looks"


def recorded_looks(plan: StudyPlan, runs: Path) -> tuple[Look, ...]:
    """Returns the recorded looks at a plan's question, in order."""
    log = LookLog.find(_log_file(plan, runs))
    return () if log is None else log.looks


def count_seeds(growth: SeedGrowth, plan: StudyPlan, runs: Path) -> int:
    """Returns the present number of seeds: that of the largest look, or the first number."""
    looks = recorded_looks(plan, runs)
    counts = [look.num_seeds for look in looks if look.max_seeds == growth.max]
    return max(counts, default=growth.start)


def count_verdict_seeds(plan: StudyPlan) -> int:
    """Returns the number of seeds that verdicts use: those of trials that cross others do not."""
    return len({*plan.seeds} - {trial.seed for trial in plan.trials if trial.crosses})


def with_looks(plan: StudyPlan, growth: SeedGrowth | None, runs: Path) -> StudyPlan:
    """Returns the plan with its looks, declared and undeclared, and with late variants.

    `looks` has the seeds at each declared look, the present one last; `uncorrected` every other
    look, which no p-value corrects for; `added` the variants that an earlier look did not have.
    """
    looks, uncorrected = _count_looks(plan, growth, runs)
    added = tuple(_find_added_variants(plan, runs))
    return replace(plan, looks=looks, uncorrected=uncorrected, added=added)


def _count_looks(
    plan: StudyPlan, growth: SeedGrowth | None, runs: Path
) -> tuple[RecordedLooks | None, tuple[Look, ...]]:
    now, recorded = count_verdict_seeds(plan), recorded_looks(plan, runs)
    if growth is None:
        return None, tuple(look for look in recorded if look.num_seeds < now)
    before = sorted({look.num_seeds for look in recorded if look.max_seeds == growth.max})
    counts = (*(count for count in before if count < now), now)
    others = tuple(look for look in recorded if look.max_seeds != growth.max)
    return RecordedLooks(seed_counts=counts, max_seeds=growth.max), others


def record_look(plan: StudyPlan, runs: Path) -> None:
    """Records that a report of this plan is being written; the same look twice counts once."""
    most = plan.looks.max_seeds if plan.looks else None
    look = Look(num_seeds=count_verdict_seeds(plan), max_seeds=most)
    file = _log_file(plan, runs)
    before = LookLog.find(file)
    looks = before.looks if before else ()
    log = LookLog(
        study=plan.study,
        arms=tuple(sorted(_name_arms(plan))),
        score=_compared_score(plan),
        looks=looks if look in looks else (*looks, look),
    )
    if log != before:
        log.write(file)


def _find_added_variants(plan: StudyPlan, runs: Path) -> list[str]:
    """Names the variants that were missing when the others were compared in a report.

    Logs of any study count, since a larger study may have another name.
    """
    names, score = _name_arms(plan), _compared_score(plan)
    logs = [LookLog.read(path) for path in sorted((runs / FOLDER).glob("*.json"))]
    earlier = [set(log.arms) for log in logs if log.score == score]
    smaller = [arms for arms in earlier if len(arms) > 1 and arms < names.keys()]
    return [name for arm, name in names.items() if any(arm not in arms for arms in smaller)]


def _compared_score(plan: StudyPlan) -> ComparedScore:
    return ComparedScore(protocol=plan.score_protocol, pooling=plan.score.pooling)


def _name_arms(plan: StudyPlan) -> dict[str, str]:
    """Maps each variant's key to its name; the key is its first trial and, if varied, its probe."""
    names = {}
    for trial in plan.trials:
        if trial.seed == plan.seeds[0]:
            probe = [plan.probes[trial.probe]] if trial.probe else []
            names[json.dumps([trial.fingerprint, *probe], sort_keys=True)] = join_labels(
                trial.levels.values()
            )
    return names


def _log_file(plan: StudyPlan, runs: Path) -> Path:
    """Names the log by its question: the trials of one seed, and how they are scored."""
    trials = [trial for trial in plan.trials if trial.seed == plan.seeds[0]]
    question: dict[str, Any] = {
        "trials": sorted(trial.fingerprint for trial in trials),
        "score": [plan.score_protocol, plan.score.pooling],
    }
    if varied := {trial.probe for trial in plan.trials if trial.probe}:
        question["probes"] = [plan.probes[name] for name in sorted(varied)]
    key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:10]
    return runs / FOLDER / f"{plan.study.removesuffix(TRY)}-{key}.json"  # a try-out is a look, too
