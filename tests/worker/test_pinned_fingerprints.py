"""Pins the fingerprints of many trials: existing runs are found by them.

A value here may change only if the `version` of a part was raised on purpose. The data set is
represented by a fixed digest, so that nothing is decoded.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from ablate.parts import build
from ablate.worker.trial import Trial, compute_fingerprint
from ablate.worker.units import convert_sizes

STUDIES = Path(__file__).parents[2] / "studies"
DATA_DIGEST = "0123456789abcdef"
Pins = dict[str, tuple[str, dict[str, Any]]]  # name -> fingerprint, settings
SYNTHETIC = "{type: ablate.audio.synthetic.Synthetic, clips_per_class: 2}"

RECIPES = {
    "a_jepa": "ec6d311edc",
    "atst_frame": "4a571ad585",
    "audio_jepa": "921e2e461d",
    "audio_jepa_shipped": "ca2ef7b16d",
    "audiomae": "89520b43ca",
    "best_rq": "0147bc18ae",
    "conformer_ssl": "582966da36",
    "dasheng": "9ae1a3648c",
    "data2vec": "df6cbceade",
    "data2vec2": "76dc09f6bf",
    "eat": "7902ffa213",
    "hubert": "c46dcf8eb0",
    "i_jepa": "f3ea4b9bea",
    "lejepa_audio": "f9b496e37a",
    "m2d": "f7d5d5d608",
    "m2d_x": "65678899c8",
    "matpac": "44296bd894",
    "mert_rvq": "2f9ff2a632",
    "nepa": "881fea4082",
    "s_jepa": "bc8d5ccc4e",
    "sony_jepa": "20c20eac16",
    "ssast": "02fbd1a9bd",
    "sslam": "6376357c42",
    "v_jepa": "efe4ea2488",
    "vjepa2": "2e3e2d550d",
    "vjepa2_1": "30f7cf54d1",
    "wav2vec2": "66446f2e3f",
    "wavjepa": "228ceef7ee",
    "wavjepa_denoise": "5d2a48571e",
    "wavlm": "b035639239",
}
TINY_RECIPES = {
    "a_jepa": "9da0faf13f",
    "atst_frame": "eccb1d0f67",
    "audio_jepa": "f729104615",
    "audio_jepa_shipped": "c19b9659f0",
    "audiomae": "b822b245a2",
    "best_rq": "ab35206adc",
    "conformer_ssl": "8aab4afe42",
    "dasheng": "697868d1b9",
    "data2vec": "158c33e869",
    "data2vec2": "8dbf29f347",
    "eat": "c2fea2eb9e",
    "hubert": "4c00f7daa7",
    "i_jepa": "16a895fa00",
    "lejepa_audio": "5ddeff48e9",
    "m2d": "4909aef56d",
    "m2d_x": "3a065ae2d5",
    "matpac": "06e9559ee5",
    "mert_rvq": "96b17e8f8f",
    "nepa": "98c627ad01",
    "s_jepa": "345f4f6f7f",
    "sony_jepa": "217d70613e",
    "ssast": "4622b09e94",
    "sslam": "61d831097d",
    "v_jepa": "c49a59a6d5",
    "vjepa2": "e95ecf8739",
    "vjepa2_1": "ef4678743d",
    "wav2vec2": "0a5ac4561b",
    "wavjepa": "0ff08c013c",
    "wavjepa_denoise": "5124ca3201",
    "wavlm": "3b1bee5443",
}
RANDOM = {"type": "maskers.Random"}
MULTI_BLOCK = {"type": "maskers.MultiBlock"}
MASKERS: Pins = {
    "multi_block": ("e0614c36b5", MULTI_BLOCK),
    "random": ("0140ebda01", {"type": "maskers.Random", "ratio": [0.4, 0.6], "per": "batch"}),
    "bernoulli": ("09903401a9", {"type": "maskers.Bernoulli"}),
    "grouped": ("3b4f9b6501", {"type": "maskers.Grouped"}),
    "shared_random": ("0151f4b1a7", {"type": "maskers.SharedRandom"}),
    "lattice": ("ee90b7c0fe", {"type": "maskers.Lattice", "staggered": True}),
    "poisson_disk": ("65741cebff", {"type": "maskers.PoissonDisk"}),
    "union_complement": ("89d78ed7fc", {"type": "maskers.UnionComplement"}),
    "legacy_multi_block": ("37b2733297", {"type": "maskers.LegacyMultiBlock"}),
    "inverse_block": ("8dd3ff8bce", {"type": "maskers.InverseBlock"}),
    "clusters": ("69bf9dd346", {"type": "maskers.Clusters", "legacy": True}),
    "block_wise": ("5e11682e5a", {"type": "maskers.BlockWise"}),
    "time_strips": ("b9f9e367c5", {"type": "maskers.TimeStrips"}),
    "frequency_strips": ("bc164b0b67", {"type": "maskers.FrequencyStrips"}),
    "tube": ("d18154fba6", {"type": "maskers.Tube"}),
    "product": ("33788acfca", {"type": "maskers.TimeFrequencyProduct"}),
    "union": ("86254a3c35", {"type": "maskers.TimeFrequencyUnion"}),
    "union_of_the_reference_code": (
        "70962525bb",
        {"type": "maskers.TimeFrequencyUnion", "shipped": True},
    ),
    "spec_augment": ("a446a7a028", {"type": "maskers.SpecAugment"}),
    "time_frequency": (
        "8e19fac343",
        {"type": "maskers.TimeFrequency", "axes": "both", "units": "patches", "min_context": 0.0},
    ),
    "causal": ("76cc2952a7", {"type": "maskers.Causal"}),
    "infill": ("efbb94f45f", {"type": "maskers.Infill"}),
    "band_split": ("02c46a7951", {"type": "maskers.BandSplit"}),
    "spans": ("d97682a39a", {"type": "maskers.Spans"}),
    "random_spans": ("185e15990e", {"type": "maskers.RandomSpans"}),
    "separate_spans": ("3a0f74595d", {"type": "maskers.SeparateSpans"}),
    "m2d_spans": ("8cb4df0459", {"type": "maskers.M2DSpans"}),
    "m2d_spans_of_the_reference_code": (
        "56408b2958",
        {"type": "maskers.M2DSpans", "shipped": True},
    ),
    "wavjepa_inverse": ("a37ad07549", {"type": "maskers.WavJEPAInverse"}),
    "wavjepa_speech": ("4e585a3c0e", {"type": "maskers.WavJEPASpeech"}),
    "noise": ("a8cc783f25", {"type": "maskers.Noise"}),
    "power_law": ("32f32bbc85", {"type": "maskers.PowerLaw"}),
    "void_and_cluster": ("91bd758c20", {"type": "maskers.EvenBlue", "ratio": 0.5}),
    "variance_weighted": (
        "ed4abf443d",
        {"type": "maskers.Dispersion", "hint_ratio": 0.5, "measure": "variance"},
    ),
    "energy": ("13856f244c", {"type": "maskers.Energy"}),
    "silence_excluded": (
        "ecdb9a0902",
        {"type": "maskers.SilenceExcluded", "masker": {"type": "maskers.Dispersion"}},
    ),
    "informed": ("13dcd2b1cf", {"type": "maskers.Informed"}),
    "curriculum": (
        "cb9d119cdb",
        {
            "type": "maskers.Curriculum",
            "start": MULTI_BLOCK,
            "end": {"type": "maskers.TimeFrequency"},
        },
    ),
    "scheduled_setting": (
        "9a0be4f500",
        {"type": "maskers.Vary", "masker": RANDOM, "setting": "ratio", "start": 0.4, "end": 0.8},
    ),
    "mixture": (
        "08ef6ec4b6",
        {"type": "maskers.Mixture", "maskers": [RANDOM, MULTI_BLOCK], "weights": [1, 2]},
    ),
    "multi_mask": (
        "2e5d56e4a4",
        {"type": "maskers.Several", "maskers": [RANDOM, MULTI_BLOCK], "times": 2},
    ),
    "subsample": (
        "976e24b1f5",
        {
            "type": "maskers.Subsample",
            "masker": {"type": "maskers.Random", "ratio": 0.8},
            "share": 0.25,
        },
    ),
    "dead_zone": (
        "ac65b4eac6",
        {"type": "maskers.Gap", "masker": {"type": "maskers.MultiBlock", "num_targets": 2}},
    ),
    "guard": (
        "8fda49f4e3",
        {
            "type": "maskers.Guard",
            "masker": {"type": "maskers.Random", "ratio": [0.4, 0.95]},
            "min_context": 0.2,
        },
    ),
}
OTHER_PARTS: Pins = {
    "seconds": (
        "34e0d37935",
        {
            "patchifier": {
                "type": "ablate.model.patchify.Rectangles",
                "freq": "all",
                "seconds": 0.04,
            }
        },
    ),
    "overlapping_patches": (
        "086fab0d55",
        {"patchifier": {"type": "ablate.model.patchify.Overlapping", "freq": 16, "time": 16}},
    ),
    "waveform": (
        "1d570f3c87",
        {
            "mel": {"type": "ablate.audio.waveform.Waveform"},
            "crop_frames": 16000,
            "patchifier": {"type": "ablate.model.patchify.Windows"},
        },
    ),
    "conformer": (
        "ed7f4475aa",
        {
            "encoder": {
                "type": "ablate.model.conformer.Conformer",
                "dim": 16,
                "layers": 1,
                "heads": 2,
            }
        },
    ),
    "kaldi": ("27c4ec9df4", {"mel": {"type": "ablate.audio.mel.KaldiFbank", "bands": 32}}),
    "pixels_with_l1": (
        "92bc304def",
        {
            "target": {"type": "ablate.model.targets.Pixels"},
            "objective": {"type": "ablate.model.objectives.L1"},
        },
    ),
    "predictor_per_target": (
        "2960b713fa",
        {
            "predictor": {
                "type": "ablate.model.predictor.PerTarget",
                "dim": 16,
                "layers": 1,
                "heads": 2,
            }
        },
    ),
}
USER_PARTS: Pins = {
    "user": ("0963660c75", {"type": "pinned_lab.tilted.Tilted"}),
    "user_inside_ours": (
        "b91aa2aad8",
        {"type": "maskers.Subsample", "masker": {"type": "pinned_lab.tilted.Tilted", "ratio": 0.7}},
    ),
    "ours_inside_user": (
        "6cc43cc877",
        {"type": "pinned_lab.tilted.Tilted", "inner": {"type": "maskers.Random", "ratio": 0.5}},
    ),
}

MODULE = """
from dataclasses import dataclass
from ablate.model.masking import AbstractMasker, Promises


@dataclass(frozen=True, kw_only=True)
class Tilted(AbstractMasker):
    ratio: float = 0.6
    inner: AbstractMasker | None = None

    @property
    def promises(self):
        return Promises(context=(0.4, 0.4))

    def draw(self, clips, generator):
        raise NotImplementedError
"""


def fingerprint_of(settings: dict[str, Any]) -> str:
    return compute_fingerprint(build(convert_sizes(settings), expect=Trial), DATA_DIGEST)


def study_settings(extends: str, folder: Path) -> dict[str, Any]:
    file = folder / "study.yaml"
    file.write_text(
        f"study: pinned\nbaseline: {{extends: {extends}, data: {SYNTHETIC}}}\nseeds: 1\n"
    )
    return {**loader.load(file).baseline.plain(), "seed": 0}


@pytest.mark.parametrize("name", RECIPES)
def test_the_fingerprint_of_a_recipe_is_pinned(name: str, tmp_path: Path) -> None:
    settings = study_settings(f"{STUDIES}/recipes/{name}.yaml", tmp_path)
    assert fingerprint_of(settings) == RECIPES[name]


@pytest.mark.parametrize("name", TINY_RECIPES)
def test_the_fingerprint_of_a_tiny_recipe_is_pinned(name: str, tmp_path: Path) -> None:
    recipes = f"[{STUDIES}/recipes/{name}.yaml, {STUDIES}/recipes/scale/tiny.yaml]"
    assert fingerprint_of(study_settings(recipes, tmp_path)) == TINY_RECIPES[name]


@pytest.mark.parametrize(("pinned", "masker"), MASKERS.values(), ids=MASKERS)
def test_the_fingerprint_of_a_masker_of_the_zoo_is_pinned(
    pinned: str, masker: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert fingerprint_of({**settings, "masker": masker}) == pinned


RENAMED = {
    "Dispersion": "VarianceWeighted",
    "EvenBlue": "VoidAndCluster",
    "Gap": "DeadZone",
    "Several": "MultiMask",
    "Vary": "ScheduledSetting",
    '"shipped"': '"as_in_reference_code"',
}


@pytest.mark.parametrize(("pinned", "masker"), MASKERS.values(), ids=MASKERS)
def test_new_names_of_maskers_and_settings_change_no_fingerprint(
    pinned: str, masker: dict[str, Any], settings: dict[str, Any]
) -> None:
    text = json.dumps(masker)
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    assert fingerprint_of({**settings, "masker": json.loads(text)}) == pinned


@pytest.mark.parametrize(("pinned", "parts"), OTHER_PARTS.values(), ids=OTHER_PARTS)
def test_the_fingerprint_of_other_parts_is_pinned(
    pinned: str, parts: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert fingerprint_of({**settings, **parts}) == pinned


@pytest.mark.parametrize(("pinned", "masker"), USER_PARTS.values(), ids=USER_PARTS)
def test_the_fingerprint_of_a_user_part_is_pinned(
    pinned: str,
    masker: dict[str, Any],
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "pinned_lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tilted.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pinned_lab"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    assert fingerprint_of({**settings, "masker": masker}) == pinned
