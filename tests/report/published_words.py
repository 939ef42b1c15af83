"""Decides the published studies again: by the present rules, and from three of their eight seeds.

`python -m tests.report.published_words` prints the tables of `docs/decisions.md`. All follows
from the `scores.csv` of each report. The earlier rule is Student's t on the differences of a
contrast alone.
"""

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ablate.core.records.plan import ReportSettings, ScoreView
from ablate.core.records.run import RunRecord
from ablate.report.mean_scores import (
    compute_mean_score,
    compute_random_init_score,
    compute_untrained_scores,
)
from ablate.report.pages.claims import format_scope
from ablate.report.pages.table import MINUS
from ablate.report.results import Results, TrialResult
from ablate.report.run import ProbeScore, RunResult
from ablate.report.stats.contrasts import list_contrasts
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.decisions import (
    Gate,
    Verdict,
    compute_gate,
    decide_family,
    get_level_key,
)
from ablate.report.stats.verdicts import FAMILIES
from tests.plans import COUNTS, make_data, make_entry, make_plan

PUBLISHED = Path(__file__).parents[2] / "studies" / "results"
NUM_SEEDS, NUM_KEPT = 8, 3
MARGIN = 2.0  # every published study has this one
CLAIMS = ("better", "worse")
Rule = Literal["earlier", "present"]
Key = tuple[str, str, str, str, str]  # family, factor, level, against, where
Verdicts = dict[Key, Verdict]


@dataclass(frozen=True)
class Agreement:
    """How words from few seeds compare with those of all seeds; means over subsets of seeds."""

    decided: int  # contrasts that are better or worse with all seeds
    confirmed: float  # by few seeds, too
    others: float  # better or worse with few seeds only
    opposite: float  # better or worse although the mean over all seeds has the opposite sign


def list_reports(num_seeds: int | None = None) -> list[Path]:
    """Lists the published reports, or those of studies with so many seeds."""
    folders = sorted(file.parent for file in PUBLISHED.glob("*/findings.json"))
    return [f for f in folders if num_seeds in (None, len(_read_findings(f)["seeds"]))]


def read_published(folder: Path) -> Results:
    """Reads the scores of a published report as the results of its study."""
    findings = _read_findings(folder)
    with (folder / "scores.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    columns = list(rows[0])
    factors = columns[columns.index("variant") + 1 : columns.index("seed")]
    probes, _, pooling = findings["score"].rpartition(".")
    baseline = findings["baseline"].split(", ")
    levels = {
        name: tuple(dict.fromkeys([baseline[i], *(row[name] for row in rows)]))
        for i, name in enumerate(factors)
    }
    names = [name.removeprefix("factor ") for name in factors]
    plan = make_plan(
        factors=dict(zip(names, levels.values(), strict=True)),
        baseline=dict(zip(names, baseline, strict=True)),
        seeds=tuple(findings["seeds"]),
        score=ScoreView(probe=probes.split(" or ")[0], pooling=pooling),
        probes={name: {} for name in probes.split(" or ")},
        report=ReportSettings(equivalence_margin=MARGIN, alpha=findings["alpha"]),
        data=(make_data(tasks=dict.fromkeys(sorted({row["task"] for row in rows}), COUNTS)),),
    )
    by_trial: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in rows:
        by_trial.setdefault((row["variant"], int(row["seed"])), []).append(row)
    trials = []
    variants = [entry["variant"] for entry in findings["variants"]]
    by_variant = dict(zip(variants, itertools.cycle(probes.split(" or "))))  # may be a factor
    for (variant, seed), of_trial in by_trial.items():
        chosen = {name: of_trial[0][column] for name, column in zip(names, factors, strict=True)}
        study = Results(plan=plan, trials=())
        trials.append(_build_trial(study, chosen, seed, of_trial, by_variant[variant]))
    return Results(plan=replace(plan, trials=tuple(t.plan for t in trials)), trials=tuple(trials))


def _build_trial(
    study: Results,
    levels: Mapping[str, str],
    seed: int,
    rows: Sequence[Mapping[str, str]],
    probe: str,
) -> TrialResult:
    runs: dict[str, tuple[RunResult, ...]] = {}
    names: dict[str, str] = {}
    for kind in ("jepa", "random_init", "mel_statistics"):
        of_kind = [row for row in rows if row["kind"] == kind]
        fingerprints = dict.fromkeys(row["fingerprint"] for row in of_kind)
        runs[kind] = tuple(_build_run(of_kind, each) for each in fingerprints) or (_build_run([]),)
        names[kind] = next(iter(fingerprints), "")
    entry = make_entry(
        names["jepa"],
        levels={name: level for name, level in levels.items() if level != "-"},
        seed=seed,
        random_init=names["random_init"],
        statistics=names["mel_statistics"],
    )
    key = probe, study.plan.score.pooling
    [trained], inits, [statistics] = (runs[k] for k in ("jepa", "random_init", "mel_statistics"))
    return TrialResult(
        levels=entry.levels,
        seed=seed,
        fingerprint=entry.fingerprint,
        plan=entry,
        probe_key=key,
        run=trained,
        random_init=inits[0],
        further_inits=inits[1:],
        mel_statistics=statistics,
        score=compute_mean_score(study.plan, entry, trained, key)[0],
        random_init_score=compute_random_init_score(study.plan, entry, inits, key),
        mel_statistics_score=None,
        untrained_scores=compute_untrained_scores(study.plan, entry, inits, statistics, key),
        state="done",
        reason=None,
    )


def _build_run(rows: Sequence[Mapping[str, str]], fingerprint: str = "") -> RunResult:
    """Builds the run of a fingerprint from the rows of its scores."""
    scores = tuple(
        ProbeScore(
            task=row["task"],
            probe=row["probe"],
            pooling=row["pooling"],
            valid=None,
            test=float(row["test"]),
        )
        for row in rows
        if row["fingerprint"] == fingerprint
    )
    return RunResult(state="done", reason=None, record=RunRecord(), scores=scores)


def decide(results: Results, rule: Rule = "present") -> Verdicts:
    """Decides the contrasts between variants by a rule."""
    rules = read_decision_rules(results.plan)
    contrasts = list_contrasts(results)
    if rule == "earlier":
        contrasts = [replace(contrast, others={}) for contrast in contrasts]
    gates: dict[tuple[str, str], Gate] = {}
    verdicts: Verdicts = {}
    for name in FAMILIES:
        family = [contrast for contrast in contrasts if contrast.family == name]
        for verdict in decide_family(family, rules, gates):
            verdicts[_get_key(verdict)] = verdict
            if name == "pooled":
                gates[get_level_key(verdict.contrast)] = compute_gate(verdict, rules, len(family))
    return verdicts


def list_changed_words(folder: Path) -> list[tuple[Key, str, str]]:
    """Lists the contrasts whose published word is not that of the present rules: old, new."""
    present = decide(read_published(folder))
    published = {
        (v["family"], v["factor"], v["level"], v["against"], v["where"]): _shorten(v["verdict"])
        for v in _read_findings(folder)["verdicts"]
    }
    assert published.keys() <= present.keys() | {
        key for key in published if key[0] in ("untrained", "learning")
    }
    return [
        (key, word, present[key].word)
        for key, word in published.items()
        if key in present and present[key].word != word
    ]


def compare_subsets(folder: Path, rule: Rule, *, step: int = 1) -> Agreement:
    """Compares the words of subsets of three seeds with those of all, taking every `step`th."""
    results = read_published(folder)
    full = _list_differences(decide(results, rule))
    decided = {key for key, verdict in full.items() if verdict.word in CLAIMS}
    subsets = [*itertools.combinations(results.plan.seeds, NUM_KEPT)][::step]
    confirmed = others = opposite = 0
    for seeds in subsets:
        for key, verdict in _list_differences(decide(_keep_seeds(results, seeds), rule)).items():
            if verdict.word in CLAIMS:
                confirmed += key in decided and verdict.word == full[key].word
                others += key not in decided
                opposite += (verdict.word == "better") != ((full[key].estimate.mean or 0.0) > 0)
    count = len(subsets)
    return Agreement(len(decided), confirmed / count, others / count, opposite / count)


def _keep_seeds(results: Results, seeds: Iterable[int]) -> Results:
    kept = set(seeds)
    plan = replace(results.plan, seeds=tuple(sorted(kept)))
    return Results(plan=plan, trials=tuple(t for t in results.trials if t.seed in kept))


def _list_differences(verdicts: Verdicts) -> Verdicts:
    """Lists the verdicts on differences between variants."""
    return {key: verdict for key, verdict in verdicts.items() if key[0] in ("pooled", "within")}


def _shorten(word: str) -> str:
    """Removes what an undecided contrast would need."""
    return word.partition(":")[0]


def _get_key(verdict: Verdict) -> Key:
    contrast = verdict.contrast
    where = format_scope(contrast)
    return contrast.family, contrast.factor, contrast.level, contrast.against, where


def _read_findings(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "findings.json").read_text())
    return content


def format_changed_words(folder: Path) -> list[str]:
    """Formats the changed words of a report as rows of a table."""
    return [
        f"| {folder.name} | {factor}: {level} {MINUS} {against} ({where}, {family}) "
        f"| {old} | {new} |"
        for (family, factor, level, against, where), old, new in list_changed_words(folder)
    ]


def format_agreement(folder: Path) -> str:
    """Formats what three seeds decide by both rules as a row of a table."""
    earlier, present = (compare_subsets(folder, rule) for rule in ("earlier", "present"))
    cells = [f"{earlier.decided} / {present.decided}"]
    for name in ("confirmed", "others", "opposite"):
        cells.append(f"{getattr(earlier, name):.2f} / {getattr(present, name):.2f}")
    return f"| {folder.name} | {' | '.join(cells)} |"


def main() -> None:
    """Prints both tables in Markdown."""
    for folder in list_reports():
        for line in format_changed_words(folder):
            _print(line)
    for folder in list_reports(NUM_SEEDS):
        _print(format_agreement(folder))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
