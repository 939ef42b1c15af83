"""Fixtures: a run folder with an untrained encoder, and its export."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.core.records.run import RunConfig
from ablate.export.export import export_encoder
from ablate.model.objectives import SmoothL1
from ablate.model.patchify import Rectangles
from ablate.model.predictor import Joint
from ablate.model.vit import ViT
from ablate.parts import resolve
from ablate.training.optimizer import Budget
from ablate.worker.audio_data import AudioData, open_audio
from ablate.worker.encoder_files import save_encoder
from ablate.worker.trial import Trial
from maskers import Random
from tests.run_folders import write_score

SECONDS = (0.3, 2.0, 0.07, 1.0)
NOTE = "0123abcdef"


class Exported(NamedTuple):
    run: Path
    folder: Path
    trial: Trial
    audio: AudioData
    files: list[Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    rows, files = ["path,label,split"], []
    for number, seconds in enumerate(SECONDS):
        samples = np.random.default_rng(number).normal(size=int(16000 * seconds)) * 0.1
        files.append(root / f"{number}.wav")
        soundfile.write(files[-1], samples, 16000)
        rows.append(f"{number}.wav,{'xy'[number % 2]},{('train', 'test')[number > 1]}")
    (root / "m.csv").write_text("\n".join(rows))
    trial = Trial(
        data=Folder(manifest=str(root / "m.csv"), task="noise"),
        mel=LogMel(bands=32),
        crop_frames=48,
        patchifier=Rectangles(freq=16, time=8),
        masker=Random(),
        encoder=ViT(dim=16, layers=2, heads=2),
        predictor=Joint(dim=16, layers=1, heads=2),
        objective=SmoothL1(),
        budget=Budget(steps=10, batch=2),
        seed=3,
    )
    audio = open_audio(trial.data, trial.mel, root / "cache")
    return Exported(*write_and_export(root, NOTE, trial, audio), trial, audio, files)


def write_and_export(root: Path, name: str, trial: Trial, audio: AudioData) -> tuple[Path, Path]:
    """Writes a run folder as a run would, and exports it."""
    run = root / "runs" / name
    write_score(run, "noise", {"type": "ablate.probing.knn.KNN"}, mean={"test": 12.5})
    RunConfig(kind="jepa", settings=resolve(trial)).write(run / "config.json")
    save_encoder(run, trial.random_init.build_encoder(), audio)
    return run, export_encoder(run, root / f"exported-{name}")


@pytest.fixture(scope="session")
def other(exported, tmp_path_factory) -> Path:
    """Another run's export."""
    trial = replace(exported.trial, seed=4)
    return write_and_export(tmp_path_factory.mktemp("other"), "fedcba3210", trial, exported.audio)[
        1
    ]
