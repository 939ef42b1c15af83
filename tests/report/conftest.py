"""A study for tests: a plan, and run folders with real files, as a worker writes them."""

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from ablate.core.records.metrics_log import format_line
from ablate.core.records.plan import (
    MaskGallery,
    MaskPicture,
    ReportSettings,
    ScoreView,
    StudyPlan,
    TrialEntry,
)
from ablate.core.records.run import (
    ENVIRONMENT_FILE,
    RECORD_FILE,
    CodeVersion,
    Environment,
    Machine,
    ParameterCounts,
    RunKind,
    RunRecord,
)
from ablate.report.report import write_report
from ablate.report.results import Results, read_results
from ablate.report.stats.statistics import Estimate, estimate_mean
from tests.plans import COUNTS, make_data, make_entry, make_facts, make_plan
from tests.run_folders import COST, METRICS, write_score

settings.register_profile("reporting", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("reporting")

KNN = {"type": "ablate.probing.knn.KNN", "k": 10, "temperature": 0.07}
LINEAR = {"type": "ablate.probing.linear.Linear", "steps": 300}
TASKS = {"speech": 5.0, "music": 0.0, "environment": -3.0}
POOLINGS = ("mean", "mean_std", "concat_freq")
STATISTICS_POOLINGS = ("mean_std", "mean", "concat_freq", "segments4")
MACHINE = Machine(platform="Linux-6.1", processor="x86_64", cores=2, argv=["worker"])


@dataclass
class StudyBuilder:
    """Writes the run folders of a study, and its plan.

    Scores are drawn: `levels_score` is the true score of a trained variant by its levels, `noise`
    the standard deviation of each score. `random_init_factors` change the random-init encoder.
    """

    root: Path
    factors: dict[str, list[str]] = field(
        default_factory=lambda: {
            "masker": ["random", "block", "curriculum"],
            "patchifier": ["squares", "strips"],
        }
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    random_init_factors: tuple[str, ...] = ("patchifier",)
    levels_score: Callable[[Mapping[str, str]], float] = lambda levels: 40.0
    random_score: Callable[[Mapping[str, str]], float] = lambda levels: 30.0
    noise: float = 0.5
    margin: float = 2.0
    num_pictures: int = 0
    num_random_inits: int = 1

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "masking"

    def build(self) -> StudyPlan:
        """Writes all run folders and returns the plan."""
        names = list(self.factors)
        trials: list[TrialEntry] = []
        for combination in itertools.product(*self.factors.values()):
            levels = dict(zip(names, combination, strict=True))
            trials.extend(self._trial(levels, seed) for seed in self.seeds)
        return make_plan(
            *trials,
            title="Does the shape of the mask matter, and does the patch decide?",
            text="study: masking\nseeds: 3\nscore: knn.concat_freq # a < b & c\n",
            factors={name: tuple(levels) for name, levels in self.factors.items()},
            baseline={name: levels[0] for name, levels in self.factors.items()},
            seeds=tuple(self.seeds),
            score=ScoreView(probe="knn", pooling="concat_freq"),
            probes={"knn": KNN, "linear": LINEAR},
            report=ReportSettings(equivalence_margin=self.margin, alpha=0.05),
            data=(
                make_data(
                    skipped=(("speech/a<b>.wav", "no audio"),), tasks=dict.fromkeys(TASKS, COUNTS)
                ),
            ),
            gallery=self._gallery(),
        )

    def results(self) -> Results:
        return read_results(self.build(), self.runs)

    def fingerprint(self, seed: int, /, **levels: str) -> str:
        return _hex("jepa", *levels.values(), seed)

    def edit(self, fingerprint: str, **changes: object) -> None:
        """Replaces fields of a run's record, as JSON."""
        path = self.runs / fingerprint / RECORD_FILE
        content = RunRecord.read(path).to_json() | changes
        RunRecord.from_json(content, str(path)).write(path)

    def fail(self, fingerprint: str, reason: str = "nan: loss is not finite at step 7") -> None:
        self.edit(fingerprint, state="failed", reason=reason)
        for path in (self.runs / fingerprint).glob("probes/*/*.json"):
            path.unlink()

    def _trial(self, levels: dict[str, str], seed: int) -> TrialEntry:
        random_init_levels = [levels[name] for name in self.random_init_factors if name in levels]
        trial = _hex("jepa", *levels.values(), seed)
        inits = {
            _hex("random_init", *random_init_levels, own): own
            for own in range(seed, seed + 1000 * self.num_random_inits, 1000)
        }
        random_init, *further = inits
        statistics = _hex("mel_statistics", seed)
        context = {"random": 0.40, "block": 0.33, "curriculum": 0.38}.get(
            levels.get("masker", "random"), 0.40
        )
        self._run(trial, "jepa", self.levels_score(levels), POOLINGS, context, seed)
        for init, own in inits.items():
            self._run(init, "random_init", self.random_score(levels), POOLINGS, context, own)
        self._run(statistics, "mel_statistics", 28.0, STATISTICS_POOLINGS, context, seed)
        return make_entry(
            trial,
            levels=levels,
            seed=seed,
            random_init=random_init,
            further_inits=tuple(further),
            statistics=statistics,
            facts=make_facts(context=context),
        )

    def _run(
        self,
        fingerprint: str,
        kind: str,
        score: float,
        poolings: tuple[str, ...],
        context: float,
        seed: int,
    ) -> None:
        folder = self.runs / fingerprint
        if folder.exists():
            return  # variants share their random init
        folder.mkdir(parents=True)
        draw = np.random.default_rng(int(fingerprint, 16))
        _record(kind, context, draw).write(folder / RECORD_FILE)
        Environment(machine=MACHINE).write(folder / ENVIRONMENT_FILE)
        if kind == "jepa":
            (folder / "metrics.jsonl").write_text(_log(draw))
        shared = np.random.default_rng(seed).normal(
            0, 0.5
        )  # the effect of the seed on all variants
        for (task, shift), (probe, protocol) in itertools.product(
            TASKS.items(), {"knn": KNN, "linear": LINEAR}.items()
        ):
            scores = {
                pooling: {
                    "valid": score + shift + shared + draw.normal(0, self.noise),
                    "test": score + shift + shared + draw.normal(0, self.noise),
                }
                for pooling in poolings
            }
            write_score(folder, task, protocol, _hex(probe), **scores)

    def _gallery(self) -> MaskGallery | None:
        if not self.num_pictures:
            return None
        folder = self.report / "gallery"
        folder.mkdir(parents=True, exist_ok=True)
        pictures: list[MaskPicture] = []
        pairs = itertools.product(self.factors["masker"], self.factors["patchifier"])
        for masker, patchifier in itertools.islice(pairs, self.num_pictures):
            file = f"{masker}--{patchifier}.png".replace("/", "-")
            (folder / file).write_bytes(_png(len(pictures)))
            picture = MaskPicture(
                masker=masker, patchifier=patchifier, file=file, context=0.4, targets=0.5
            )
            pictures.append(picture)
        return MaskGallery(title="speech/seven.wav", folder=str(folder), pictures=tuple(pictures))


@pytest.fixture
def builder(tmp_path: Path) -> StudyBuilder:
    return StudyBuilder(tmp_path)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> StudyBuilder:
    """A written report with an interaction of masker and patchifier; tests must not change it."""
    builder = StudyBuilder(tmp_path_factory.mktemp("study"), num_pictures=3, noise=0.05)
    builder.levels_score = lambda levels: (
        40.0 + 9.0 * (levels["masker"] == "block") * (levels["patchifier"] == "strips")
    )
    plan = builder.build()
    assert plan.gallery is not None
    plan = replace(plan, gallery=replace(plan.gallery, folder="gallery"))
    write_report(plan, builder.runs, builder.report)
    plan.write(builder.report / "plan.json")
    return builder


def paired(level: Sequence[float], against: Sequence[float]) -> Estimate:
    """Estimates the mean difference of two arms with the same order of seeds."""
    return estimate_mean(np.subtract(level, against).tolist(), alpha=0.05)


def _hex(*key: object) -> str:
    return f"{zlib.crc32(repr(key).encode()):010x}"


def _record(kind: RunKind, context: float, draw: np.random.Generator) -> RunRecord:
    return RunRecord(
        state="done",
        kind=kind,
        attempt=1,
        host="here",
        device="cpu",
        precision="fp32",
        cost=replace(
            COST,
            steps=1500,
            clips=24_000,
            audio_hours=8.53,
            context_tokens=int(24_000 * 32 * context),
            target_tokens=24_000 * 16,
            flops=int(3.1e12 * (1 + context)),
            seconds=14.2,
            peak_memory_mb=812,
        ),
        metrics=replace(
            METRICS,
            loss=0.31,
            effective_rank=21.5 + float(draw.normal()),
            context_fraction=context,
            target_fraction=0.5,
            tokens_per_second=54_000,
        ),
        parameters=ParameterCounts(encoder=102_400, predictor=51_200),
        code=CodeVersion(commit="0123456789abcdef", dirty=False),
        versions={"torch": "2.13.0+cpu", "numpy": "2.4.6"},
    )


def _log(draw: np.random.Generator) -> str:
    offset = float(draw.normal(0, 0.02))
    rows = [
        {
            "step": step,
            "loss": 0.6 * float(np.exp(-step / 400)) + 0.3 + offset,
            "position_loss": 0.5 * float(np.exp(-step / 600)) + 0.2 + offset,
            "effective_rank": 8 + 14 * (1 - float(np.exp(-step / 500))) + 20 * offset,
        }
        for step in range(100, 1501, 100)
    ]
    return "".join(map(format_line, rows))


def _png(shade: int) -> bytes:
    """Encodes a small grey PNG without an imaging library."""
    width, height = 120, 60
    rows = b"".join(
        b"\0" + bytes((40 + 25 * shade + 3 * ((x // 8 + y // 8) % 9)) % 256 for x in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
