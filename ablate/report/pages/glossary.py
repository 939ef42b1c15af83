"""Explains the words of a report: its verdicts where they stand, and all terms in a glossary."""

from collections.abc import Iterable

from ablate.core.records.plan import ReportSettings
from ablate.report.stats.decisions import Verdict

VERDICTS = {
    "better": "the {measure} is higher, and chance is not the reason: if there were no difference, "
    "one this large would be seen anywhere among the comparisons with a probability below "
    "{alpha:.3g}",
    "worse": "the same as better, with a lower {measure}",
    "equivalent": "shown to differ by less than {margin:g} points, the margin of this study. The "
    "test corresponds to an interval of {inner:.3g} %, which may lie within the margin where the "
    "wider one that is printed does not",
    "undecided": "neither a difference nor its absence is shown; it does not mean that there is no "
    "difference",
    "differs": "the difference depends on the level of another factor, so there is one verdict for "
    "each level",
}
GLOSSARY = {
    "baseline": "The settings that all trials share. Each level is compared with the baseline's "
    "level of the same factor.",
    "collapsed": "An encoder that gives nearly the same features for every sound.",
    "context": "The patches that the encoder sees. Its share of the grid is one minus the ratio "
    "that is hidden.",
    "contrast": "A level minus another, with the same seeds and the same levels of the other "
    "factors.",
    "detectable": "The smallest difference that this number of seeds finds with a probability of "
    "80 %, at the observed spread.",
    "effective rank": "The number of directions that features use, from 1 (collapsed) to their "
    "width.",
    "EMA gap": "The distance of the context encoder's features from those of its moving average, "
    "as a share of their length.",
    "F1": "Of a class: twice the clips that are rightly given it, over the clips that have it plus "
    "those that are given it.",
    "factor, level": "What the study varies, and one of its values.",
    "fallback": "A mask that broke a promise, such as an empty context, and was drawn again.",
    "g": "Hedges' effect size: the difference in standard deviations over seeds.",
    "gain": "The score of a trained encoder minus that of the same encoder at random init; where "
    "gains are compared, minus the mean of several such encoders.",
    "interaction": "A difference that depends on the level of another factor.",
    "interval": "The range of differences that agree with the results, for this one contrast.",
    "LiDAR": "The number of directions of the features that tell clips apart, beside how features "
    "vary within a clip.",
    "margin": "The difference that the study calls too small to matter, in points.",
    "mel statistics": "The log-mel spectrogram itself, pooled as features are, and scored "
    "by the same probe: features without any training.",
    "p": "The probability of a difference at least as large if there were none; corrected by "
    "Holm's method for the number of contrasts.",
    "patchifier": "How the spectrogram is cut into patches.",
    "pooled over": "Averaged over the levels of another factor, within each seed.",
    "pooling": "How the features of a clip become one vector, such as their mean.",
    "position loss": "The loss of a predictor that knows only positions, not what is seen.",
    "probe": "A simple classifier on the frozen features; its score says what they contain.",
    "random init": "The encoder before training, with random weights.",
    "reference": "A score without training to compare with: random init or mel statistics.",
    "seed": "The number from which initial weights, order of clips and masks are drawn. Variants "
    "with one seed share them, so their scores are compared in pairs.",
    "seed r": "The correlation of the two sides of a contrast over seeds.",
    "targets": "The patches whose features are predicted from the context.",
    "variant": "One combination of levels; each of its trials has another seed.",
}


def define_verdicts(verdicts: Iterable[Verdict], settings: ReportSettings) -> dict[str, str]:
    """Defines the words that occur among the verdicts, in a fixed order."""
    measures: dict[str, set[str]] = {}
    for verdict in verdicts:
        measures.setdefault(verdict.word.split()[0], set()).add(verdict.contrast.measure)
    return {
        word: text.format(
            alpha=settings.alpha,
            margin=settings.equivalence_margin,
            inner=100 - 200 * settings.alpha,
            measure=" or ".join(sorted(measures[word], reverse=True)),
        )
        for word, text in VERDICTS.items()
        if word in measures
    }
