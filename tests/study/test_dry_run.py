"""A plan with canaries: each combination of parts is really trained, saved, resumed and probed."""

import json
import os
import re
from pathlib import Path

import pytest

from ablate.study import run as study
from ablate.study.dry_run import CostEstimate, format_costs

STUDY = """\
study: rehearsed
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
GUEST = '''\
"""A stranger's masker with a mistake that shows only while training."""

from dataclasses import dataclass

from maskers import Random


@dataclass(frozen=True, kw_only=True)
class Stumbles(Random):
    ratio: float = 0.5

    def draw(self, clips, generator):
        if 0 < clips.progress < 0.1:  # in the second of 20 steps, but not while planning
            raise RuntimeError("a step too far")
        return super().draw(clips, generator)
'''


@pytest.fixture
def study_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "reports", "cache"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(tmp_path / name))
    (tmp_path / "guest.py").write_text(GUEST)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return tmp_path


def planned(masker: str, *overrides: str, as_json: bool = False) -> int:
    Path("study.yaml").write_text(STUDY.replace("MASKER", masker))
    return study.plan_study(Path("study.yaml"), overrides, as_json=as_json, timed=True, workers=1)


def test_what_is_left_is_timed_and_nothing_of_it_is_kept(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned("maskers.MultiBlock", "limits={hours: 1.0e-6}", as_json=True) == study.OVER
    shown = capsys.readouterr()
    told = json.loads(shown.out)["canaries"]
    assert [(cost["variant"], cost["trials"]) for cost in told] == [
        ("random", 2),
        ("sparse", 2),
        ("other", 2),
    ]
    assert all(cost["hours"] > 0 for cost in told)
    assert told[1]["flops"] < told[0]["flops"]  # it shows less
    assert not (study_dir / "runs").exists()
    assert "`limits.hours` is 1e-06" in shown.err
    assert len(re.findall(r"canary of \w+: trained", shown.err)) == 2  # of three variants


def test_a_part_that_fails_is_told_with_its_variant(
    study_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned("guest.Stumbles") == study.WRONG
    assert "canary of other failed: error: RuntimeError: a step too far" in capsys.readouterr().err


def test_hours_are_shared_by_workers_and_flops_are_not() -> None:
    lines = format_costs(
        [CostEstimate("one", 2, 3.0, 1e9), CostEstimate("other", 1, 1.0, 1e9)], workers=2
    )
    assert lines[-1] == (
        "3 trials in all: 4 hours of training and scoring, 2 with 2 workers, and 2e+09 FLOPs"
    )
