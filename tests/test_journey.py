"""A tiny study runs from audio to its report, with real worker processes."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import ablate
from ablate.study import run as study

ROOT = Path(__file__).parents[1]
STUDY = """\
study: journey
baseline:
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 4
    valid_per_class: 1
    test_per_class: 2
  mel: {type: ablate.audio.mel.LogMel, sample_rate: 16000, bands: 64}
  crop_frames: 128
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random, ratio: 0.6}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1, beta: 1.0}
  budget: {steps: 4, batch: 4}
  optimizer: {rate: 1e-3}
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    broken: {type: my_masker.Broken}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
evaluate: {every: 3}
"""
MASKER = '''\
"""A user's masker with an error that occurs only during training."""

from dataclasses import dataclass

from ablate.model.masking import AbstractMasker, Mask, Promises


@dataclass(frozen=True, kw_only=True)
class Broken(AbstractMasker):
    @property
    def promises(self):
        return Promises(context=(0.0, 1.0))

    def draw(self, clips, generator):
        if clips.batch == 4:
            raise RuntimeError("this batch is not supported")
        first = clips.valid & (clips.valid.cumsum(1) == 1)
        return Mask(first, (clips.valid & ~first).unsqueeze(1))
'''


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs the study once; one of its two trials fails."""
    folder = tmp_path_factory.mktemp("journey")
    (folder / "my_masker.py").write_text(MASKER)
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        assert run() == study.FAILED
        yield folder


def run(*overrides: str) -> int:
    return study.run_study(Path("study.yaml"), overrides, workers=1)


def test_a_working_trial_is_trained_scored_and_reported(finished_study: Path) -> None:
    with (finished_study / "reports" / "journey" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = {row["kind"] for row in rows if row["masker"] == "random"}
    assert kinds == {"jepa", "random_init", "mel_statistics"}
    assert {row["task"] for row in rows} == {"speech", "music", "environment"}
    assert all(0 <= float(row["test"]) <= 100 for row in rows)


def test_a_trial_is_probed_during_training(finished_study: Path) -> None:
    curves = ablate.results(finished_study / "reports" / "journey").curves
    online = curves[(curves["quantity"] == "online_score") & (curves["masker"] == "random")]
    assert list(online["step"]) == [0, 3, 4]
    assert online["value"].between(0, 100).all()


def test_a_failed_trial_is_reported_with_its_reason(finished_study: Path) -> None:
    text = (finished_study / "reports" / "journey" / "report.md").read_text()
    assert "this batch is not supported" in text


def test_the_report_has_pictures_of_masks(finished_study: Path) -> None:
    pictures = (finished_study / "reports" / "journey" / "gallery").glob("*--*.png")
    assert {path.stem for path in pictures} == {"random--baseline", "broken--baseline"}


def test_running_again_trains_nothing(
    finished_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in finished_study.glob("runs/*/encoder.safetensors")
    }
    assert run("probes.knn.k=2") == study.FAILED
    output = capsys.readouterr().out
    assert "0 trials to run, 1 done, 1 failed, of 2" in output
    assert "0 trainings, 3 re-scores, 0 references" in output
    assert "failed before: broken, seed 0" in output
    after = {
        path: path.stat().st_mtime_ns for path in finished_study.glob("runs/*/encoder.safetensors")
    }
    assert after == before != {}


def test_mistakes_are_reported_with_their_location_before_anything_runs(
    finished_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(finished_study.glob("runs/*"))
    mistakes = ("budget.stps=3", "factors.masker.random.rato=0.5", "probes.knn.kay=3")
    assert run(*mistakes) == study.WRONG
    lines = sorted(capsys.readouterr().err.splitlines())
    assert len(lines) == 3
    assert all(line.startswith("command line: ") for line in lines)
    assert "`budget.stps`: unknown key `stps`" in lines[0]
    assert "`masker.rato`: unknown key `rato` of `maskers.Random` (did you" in lines[1]
    assert "`probes.knn.kay`: unknown key `kay`" in lines[2]
    assert sorted(finished_study.glob("runs/*")) == before


def test_a_score_that_no_probe_has_is_reported_before_anything_runs(
    finished_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(finished_study.glob("runs/*"))
    assert run("score=knn.max", "budget.steps=5") == study.WRONG
    message = " ".join(capsys.readouterr().err.split())
    assert "command line: `score`: probe `knn` does not read `max`" in message
    assert "`evaluate.score`" not in message
    assert sorted(finished_study.glob("runs/*")) == before
