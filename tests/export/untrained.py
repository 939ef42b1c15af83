"""Writes exports of encoders that were not trained, for tests that need many of them."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.mel import LogMel
from ablate.config import loader
from ablate.core.records.export import EXPORT_FILE, ExportedEncoder
from ablate.core.records.run import ENCODER_FILE
from ablate.model.encoder import AbstractEncoder
from ablate.model.patchify import AbstractPatchifier
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.parts import build, resolve
from ablate.worker.units import convert_sizes

ROOT = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in sorted((ROOT / "studies" / "recipes").glob("*.yaml"))}
TINY = ROOT / "studies" / "recipes" / "scale" / "tiny.yaml"


def export_untrained(
    folder: Path,
    *,
    patchifier: AbstractPatchifier,
    crop_frames: int,
    mel: AbstractFrontEnd | None = None,
    encoder: AbstractEncoder | None = None,
) -> Path:
    """Writes an encoder with initial weights; its input is not normalised."""
    mel = mel or LogMel(bands=32)
    encoder = encoder or ViT(dim=16, layers=1, heads=2)
    model = encoder.build(patchifier.grid(mel.bands, crop_frames), patchifier.pixels)
    initialise(model, 0, "encoder")
    tensors = {f"encoder.{name}": value for name, value in model.state_dict().items()}
    tensors["normaliser.mean"] = torch.zeros(mel.bands)
    tensors["normaliser.std"] = torch.ones(mel.bands)
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / ENCODER_FILE)
    ExportedEncoder(
        run=folder.name,
        weights="",
        mel=resolve(mel),
        patchifier=resolve(patchifier),
        encoder=resolve(encoder),
        crop_frames=crop_frames,
        version="0",
    ).write(folder / EXPORT_FILE)
    return folder


def export_recipe(name: str, folder: Path) -> Path:
    """Writes the untrained encoder of a recipe, shrunk by the tiny overlay."""
    study = folder.with_suffix(".yaml")
    study.write_text(f"study: {name}\nbaseline: {{extends: [{RECIPES[name]}, {TINY}]}}\nseeds: 1\n")
    settings = convert_sizes({**loader.load(study).baseline.plain(), "seed": 0})
    return export_untrained(
        folder,
        mel=build(settings["mel"], expect=AbstractFrontEnd),
        patchifier=build(settings["patchifier"], expect=AbstractPatchifier),
        encoder=build(settings["encoder"], expect=AbstractEncoder),
        crop_frames=settings["crop_frames"],
    )
