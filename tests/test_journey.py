"""A tiny study goes all the way with the real worker: sound, training, probes, report."""

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
    guest: {type: guest.Stumbles}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
evaluate: {every: 3}
"""
GUEST = '''\
"""A stranger's masker with a mistake that shows only while training."""

from dataclasses import dataclass

from ablate.model.masking import AbstractMasker, Mask, Promises


@dataclass(frozen=True, kw_only=True)
class Stumbles(AbstractMasker):
    @property
    def promises(self):
        return Promises(context=(0.0, 1.0))

    def draw(self, clips, generator):
        if clips.batch == 4:
            raise RuntimeError("a step too far")
        first = clips.valid & (clips.valid.cumsum(1) == 1)
        return Mask(first, (clips.valid & ~first).unsqueeze(1))
'''


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the study has been run once, with one of its two trials failing."""
    folder = tmp_path_factory.mktemp("journey")
    (folder / "guest.py").write_text(GUEST)
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        assert run() == study.FAILED
        yield folder


def run(*overrides: str) -> int:
    return study.run(Path("study.yaml"), overrides, workers=1)


def test_a_trial_that_works_is_trained_scored_and_reported(finished_study: Path) -> None:
    with (finished_study / "reports" / "journey" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = {row["kind"] for row in rows if row["masker"] == "random"}
    assert kinds == {"jepa", "random_init", "mel_statistics"}
    assert {row["task"] for row in rows} == {"speech", "music", "environment"}
    assert all(0 <= float(row["test"]) <= 100 for row in rows)


def test_a_training_is_looked_at_on_its_way(finished_study: Path) -> None:
    curves = ablate.results(finished_study / "reports" / "journey").curves
    found = curves[(curves["quantity"] == "online_score") & (curves["masker"] == "random")]
    assert list(found["step"]) == [0, 3, 4]
    assert found["value"].between(0, 100).all()


def test_a_trial_that_fails_is_named_with_its_reason(finished_study: Path) -> None:
    text = (finished_study / "reports" / "journey" / "report.md").read_text()
    assert "a step too far" in text


def test_masks_are_drawn_for_the_report(finished_study: Path) -> None:
    pictures = (finished_study / "reports" / "journey" / "gallery").glob("*--*.png")
    assert {path.stem for path in pictures} == {"random--baseline", "guest--baseline"}


def test_a_second_time_nothing_is_trained(
    finished_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in finished_study.glob("runs/*/encoder.safetensors")
    }
    assert run("probes.knn.k=2") == study.FAILED
    said = capsys.readouterr().out
    assert "0 trials to run, 1 done, 1 failed, of 2" in said
    assert "0 trainings, 3 re-scores, 0 references" in said
    assert "failed before: guest, seed 0" in said
    after = {
        path: path.stat().st_mtime_ns for path in finished_study.glob("runs/*/encoder.safetensors")
    }
    assert after == before != {}


def test_mistakes_are_told_with_their_place_before_anything_is_run(
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


def test_a_score_that_no_probe_gives_is_told_with_its_place_before_anything_is_run(
    finished_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(finished_study.glob("runs/*"))
    assert run("score=knn.max", "budget.steps=5") == study.WRONG
    told = " ".join(capsys.readouterr().err.split())
    assert "command line: `score`: probe `knn` does not read `max`" in told
    assert "`evaluate.score`" not in told
    assert sorted(finished_study.glob("runs/*")) == before
