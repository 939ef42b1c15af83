"""Code, counts, commands and links in the README and the documentation are correct."""

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import maskers
from ablate.cli.main import app
from ablate.config import loader, package_files
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.report.pages.findings import read_findings
from ablate.report.pages.publish import RESULTS_PAGE, write_results_page
from ablate.report.pages.table import format_interval, format_number
from ablate.study.prepare import prepare
from ablate.testing import check_masker
from tests.docs import finding_figures, span_length

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "studies" / "results"
LARGER = "span_length_speech"  # encoders of four layers
README = (ROOT / "README.md").read_text()
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text()
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
}


def find_code_block(language: str, text: str, page: str = "README.md") -> str:
    """Returns the one code block of a page, in a language, that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)
    [block] = [block for block in blocks if text in block]
    return block


def find_links() -> Iterator[tuple[str, str]]:
    for page, text in PAGES.items():
        yield from ((page, link) for link in re.findall(r"\]\(([\w/.#-]+)\)", text))


def test_the_masker_of_the_readme_passes_the_checks():
    names: dict[str, type] = {}
    exec(compile(find_code_block("python", "class Tilted"), "README.md", "exec"), names)
    check_masker(names["Tilted"](ratio=0.3, tilt=0.2))


@pytest.mark.parametrize(
    ("page", "line"), [("README.md", "study: mine"), ("docs/studies.md", "study: my_question")]
)
def test_the_studies_of_the_pages_can_be_planned(tmp_path, page, line):
    file = tmp_path / "question.yaml"
    file.write_text(find_code_block("yaml", line, page))
    name = line.removeprefix("study: ")
    few = [f"data.{part}_per_class=2" for part in ("clips", "valid", "test")]
    study = loader.load(file, [f"study={name}", *few])
    assert study.name == name
    assert set(study.factors) == {"masker", "optimizer.rate"}
    with Pool(tmp_path / "cache", size=1) as pool:
        planned = prepare(study, pool, create_console())
    assert planned.plan.warnings == ()
    assert all(trial.facts.context == pytest.approx(0.375) for trial in planned.plan.trials)


def test_the_sweep_of_the_page_is_valid(tmp_path):
    text = (ROOT / "studies" / "sweep.yaml").read_text()
    sweep_text = find_code_block("yaml", "sampler: tpe", "docs/sweeps.md")
    file = tmp_path / "sweep.yaml"
    file.write_text(text[: text.index("sweep:\n")] + sweep_text + text[text.index("seeds: 3") :])
    sweep = loader.load(file).sweep
    assert sweep is not None
    assert (sweep.pruner, sweep.seeds) == ("median", (1000, 1001))


@pytest.mark.parametrize("page", PAGES)
def test_every_part_named_in_a_page_exists(page):
    for path in re.findall(r"\b(?:ablate|maskers)(?:\.\w+)+", PAGES[page]):
        if not path.endswith((".csv", ".def", ".md", ".sif")):
            pkgutil.resolve_name(path)


def test_counts_in_the_pages_are_correct():
    recipes = [name for name in package_files.list_recipes() if name.count("/") == 1]
    counted = {"maskers": len(maskers.__all__), "published systems": len(recipes)}
    numerals = {"sixteen": "16"}
    # the changelog keeps the counts of former versions
    text = " ".join(page for name, page in PAGES.items() if "CHANGELOG" not in name)
    for words, count in counted.items():
        counts = re.findall(rf"(\w+) {words}\b", text)
        assert {numerals.get(word.lower(), word) for word in counts} & {str(count)}, words
        assert not [word for word in counts if word.isdigit() and word != str(count)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_named_in_a_page_exists(page):
    verbs = typer.main.get_command(app).commands
    lines = re.findall(
        r"(?:`|^|bin/)ablate ([a-z][a-z-]*)([^`\n]*)", PAGES[page], flags=re.MULTILINE
    )
    for verb, rest in lines:
        assert verb in verbs, f"ablate {verb}"
        subcommands = getattr(verbs[verb], "commands", {verb: verbs[verb]})
        command = subcommands.get(next(iter(rest.split()), ""), verbs[verb])
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.split("#")[0])) <= options, verb


@pytest.mark.parametrize(("page", "link"), [*find_links()])
def test_every_link_has_a_target(page, link):
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path
    assert target.exists()
    if anchor:
        heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_page_of_results_agrees_with_the_published_reports():
    published = sorted(path for path in RESULTS.iterdir() if path.is_dir())
    assert (RESULTS / RESULTS_PAGE).read_text() == write_results_page(published, RESULTS), (
        "stale: run `ablate publish`"
    )


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", RESULTS / "foreword.md"], ids=lambda p: p.name
)
def test_the_numbers_in_the_tables_of_findings_are_those_of_the_published_reports(page):
    text = page.read_text()
    cells = re.findall(
        r"\[([+\N{MINUS SIGN}]?\d+\.\d)\]\((?:studies/results/)?(\w+)/report\.md\) (\w+) "
        r"\(`(\w+)`(?:, ([\w ]+))?\)",
        text,
    )
    assert len(cells) == text.count("/report.md)")  # every cell is checked
    for stated, study, word, level, where in cells:
        [verdict] = [
            verdict
            for verdict in read_findings(RESULTS / study).verdicts
            if verdict.family in ("pooled", "within")
            and (verdict.level, verdict.where) == (level, where or "all")
        ]
        assert verdict.verdict.split(":")[0].split(",")[0] == word, (study, level)
        assert format_number(verdict.difference, signed=True) == stated, (study, level)


@pytest.mark.parametrize(
    ("study", "level", "verdict", "words"),
    [
        ("patching_again_speech", "strips_same_tokens", "better", "without training by {} points"),
        ("span_length_small_speech", "ms40", "undecided", "another does not show (+{})"),
        ("moved_clips_speech", "random, moved", "worse", "they are {} points below log-mel"),
    ],
)
def test_distances_to_the_strongest_baseline_in_the_readme_are_those_of_the_published_reports(
    study, level, verdict, words
):
    [finding] = [
        each
        for each in read_findings(RESULTS / study).verdicts
        if (each.family, each.level) == ("untrained", level)
    ]
    assert finding.verdict.split(":")[0] == verdict
    assert words.format(f"{abs(finding.difference):.1f}") in " ".join(README.split())


def test_the_loss_by_blocks_at_two_sizes_is_that_of_the_published_scores():
    sizes = finding_figures.compare_sizes()
    [blocks] = [
        verdict
        for verdict in read_findings(RESULTS / "is_block_worse_larger_speech").verdicts
        if verdict.family == "pooled"
    ]
    assert (blocks.verdict, blocks.difference) == ("worse", pytest.approx(sizes.large))
    foreword = (RESULTS / "foreword.md").read_text()
    assert f"larger by {-sizes.difference:.1f} points than that of small encoders" in foreword
    assert f"({format_number(-sizes.high, signed=True)} to {-sizes.low:.1f})" in foreword


def test_the_trend_over_span_lengths_in_the_readme_is_that_of_the_published_scores():
    findings, text = read_findings(RESULTS / span_length.REPORT.name), " ".join(README.split())
    trend = span_length.estimate_trend()
    assert trend.p is not None
    assert trend.p < findings.alpha
    low, mean, high = (-(value or 0.0) for value in (trend.high, trend.mean, trend.low))
    assert f"falls by {mean:.1f} points per doubling ({low:.1f} to {high:.1f})" in text


def test_readings_and_distances_in_the_foreword_are_those_of_the_published_reports():
    text = (RESULTS / "foreword.md").read_text()
    masking = read_findings(RESULTS / "masking")
    by_knn = {row.level: row.differences["knn.segments4"].mean for row in masking.robustness}
    assert f"by kNN on the same features blocks are worse by {-by_knn['block']:.1f}" in text
    assert f"by kNN on the same features it is worse by {-by_knn['curriculum']:.1f}" in text
    again, demonstration, small, large = (
        f"{read_findings(RESULTS / study).variants[0].over_mel_statistics:.1f}"
        for study in ("is_block_worse_again", "masking", "span_length_small_speech", LARGER)
    )
    text = " ".join(text.split())
    assert f"log-mels by {again} and {demonstration} points on the synthetic corpus" in text
    assert f"by {small} (small encoders, five seeds) and {large} points (larger ones" in text
    cropped = next(
        variant
        for variant in read_findings(RESULTS / "patching_again_speech").variants
        if variant.variant == "strips_same_tokens"
    )
    assert f"and by {cropped.over_mel_statistics:.1f} (small ones, five other seeds)" in text


def test_the_demonstration_in_the_readme_is_that_of_the_published_report():
    findings, text = read_findings(RESULTS / "masking"), " ".join(README.split())
    best = next(v for v in findings.verdicts if v.family == "untrained" and "random, s" in v.level)
    assert (best.level, best.verdict, best.against) == ("random, strips", "better", "random init")
    assert f"baseline without training (random init) by {best.difference:.1f} points" in text
    patches = next(v for v in findings.verdicts if v.factor == "patchifier")
    assert patches.measure == "gain"
    by_score = next(row for row in findings.robustness if not row.judged and row.level == "squares")
    score = by_score.differences[findings.score]
    assert score.mean is not None
    assert (
        f"training adds {patches.difference:.1f} points more to squares than to strips with "
        f"random, but the final score of squares is {-score.mean:.1f} points lower "
        f"{format_interval(score.low, score.high)}"
    ) in " ".join(text.split())
    by_knn = {
        row.level: -row.differences["knn.segments4"].mean
        for row in findings.robustness
        if row.factor == "masker"
    }
    assert f"worse by {by_knn['block']:.1f} to {by_knn['curriculum']:.1f} points" in text


def test_ci_runs_the_command_of_the_readme():
    gate = (ROOT / ".ci" / "run").read_text()
    assert "<!-- tests -->" in gate
    assert "pytest" in find_code_block("sh", "ruff check")
    assert find_code_block("sh", "ruff check", "CONTRIBUTING.md") == find_code_block(
        "sh", "ruff check"
    )
