"""`ablate bench steps` with the real worker, on a small study, and what it says of figures."""

import json
from pathlib import Path

import pytest

from ablate.cli import bench_steps

STUDY = """
study: small
baseline:
  data: {type: ablate.audio.synthetic.Synthetic}
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random, ratio: 0.5}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 10, batch: 4}
  batching: pack
factors:
  batching: [pack, pad]
seeds: 2
"""


def test_a_studys_variants_are_timed_once_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(STUDY)
    into = tmp_path / "bench.json"
    assert bench_steps.steps(tmp_path / "small.yaml", batch=3, seconds=0, into=into) == 0
    told = json.loads(into.read_text())
    assert [step["name"] for step in told["steps"]] == ["pack", "pad", "plain dense JEPA"]
    its, plain = (told["steps"][place]["milliseconds"] for place in (0, 2))
    assert told["speed_of_plain"] == pytest.approx(plain / its)
    said = capsys.readouterr().out
    assert "times the speed of a plain dense JEPA" in said
    assert not (tmp_path / "cache").exists()


def test_what_packing_gains_is_told_of_our_own_variants() -> None:
    took = {"blocks, pack": 10.0, "blocks, pad": 13.0, "blocks, truncate_first": 8.0}
    steps = [
        {"name": name, "beside": None, "refused": None, "milliseconds": milliseconds}
        for name, milliseconds in took.items()
    ]
    steps.append({"name": "blocks, truncate_random", "beside": None, "refused": "no"})
    found = {
        "device": "cpu",
        "threads": 1,
        "torch": "2",
        "ceiling_tflops": {"fp32": 0.1},
        "steps": steps,
        "kernels": [],
    }
    told = bench_steps.summary(found)
    assert told["packing_faster_than"] == {"pad": 1.3, "truncate_first": 0.8}
    assert told["speed_of_plain"] is None
    assert "packing is 1.30 times as fast as pad" in bench_steps.conclusions(told)[-2]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_our_own_variants_differ_in_what_is_compared(kind: str) -> None:
    variants = bench_steps._own(kind)
    names = [variant["name"] for variant in variants]
    assert names[1:] == [f"blocks, {batching}" for batching in bench_steps.BATCHINGS]
    encoders = {json.dumps(variant["settings"]["encoder"]) for variant in variants}
    assert len(encoders) == 1
