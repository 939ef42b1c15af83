"""A timed plan trains, pauses, resumes and probes one short trial per combination of parts."""

import json
import os
import re
from pathlib import Path

import pytest

from ablate.study import run as study
from ablate.study.dry_run import CostEstimate, format_costs

STUDY = """\
study: timed
baseline:
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 2
    valid_per_class: 1
    test_per_class: 1
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random, ratio: 0.6}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 4000, batch: 4}
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    sparse: {type: maskers.Random, ratio: 0.8}
    other: {type: MASKER}
seeds: 2
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""
USER_MASKER = '''\
"""A user's masker that fails during training, but not while a study is planned."""

from dataclasses import dataclass

from maskers import Random


@dataclass(frozen=True, kw_only=True)
class FailsInTraining(Random):
    ratio: float = 0.5

    def draw(self, clips, generator):
        if 0 < clips.progress < 0.1:  # in the second of 20 steps, but not while planning
            raise RuntimeError("failed on purpose")
        return super().draw(clips, generator)
'''


@pytest.fixture
def study_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "reports", "cache"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(tmp_path / name))
    (tmp_path / "user_masker.py").write_text(USER_MASKER)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return tmp_path


def plan(masker: str, *overrides: str, as_json: bool = False) -> int:
    Path("study.yaml").write_text(STUDY.replace("MASKER", masker))
    return study.plan_study(Path("study.yaml"), overrides, as_json=as_json, timed=True, workers=1)


def test_remaining_trials_are_timed_and_no_run_is_kept(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("maskers.MultiBlock", "limits={hours: 1.0e-6}", as_json=True) == study.OVER
    output = capsys.readouterr()
    costs = json.loads(output.out)["canaries"]
    assert [(cost["variant"], cost["trials"]) for cost in costs] == [
        ("random", 2),
        ("sparse", 2),
        ("other", 2),
    ]
    assert all(cost["hours"] > 0 for cost in costs)
    assert costs[1]["flops"] < costs[0]["flops"]  # a higher ratio leaves fewer tokens
    assert not (study_dir / "runs").exists()
    assert "`limits.hours` is 1e-06" in output.err
    # two of the three variants have the same parts
    assert len(re.findall(r"canary of \w+: trained", output.err)) == 2


def test_a_part_that_fails_is_reported_with_its_variant(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("user_masker.FailsInTraining") == study.WRONG
    assert (
        "canary of other failed: error: RuntimeError: failed on purpose" in capsys.readouterr().err
    )


def test_untrained_encoders_count_as_hours_of_scoring() -> None:
    costs = [CostEstimate("one", 2, 3.0, 1e9, references=8, reference_hours=0.5)]
    lines = format_costs(costs, workers=1)
    assert "  8 untrained encoders to score: 0.5 hours" in lines
    assert "3.5 hours of training and scoring" in lines[-1]


def test_workers_divide_the_hours_but_not_the_flops() -> None:
    lines = format_costs(
        [CostEstimate("one", 2, 3.0, 1e9), CostEstimate("other", 1, 1.0, 1e9)], workers=2
    )
    assert lines[-1] == (
        "3 trials in all: 4 hours of training and scoring, 2 with 2 workers, and 2e+09 FLOPs"
    )
