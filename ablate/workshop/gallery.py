"""The mask gallery: every masker on the same spectrogram, for every patchifier."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ablate.audio.loader import windows
from ablate.chance import generator
from ablate.files import write_atomically
from ablate.model.batching import truncate
from ablate.model.masking import Grid
from ablate.parts import build
from ablate.pictures import draw_masks
from ablate.workshop.mask_statistics import BATCHES, COUPLED_BATCHES, realised_shares
from ablate.workshop.subjects import Sound, Trial, open_sound


def draw_gallery(folder: Path, trials: list[dict[str, Any]], cache: Path) -> dict[str, Any]:
    """Draws a picture for each of `trials`, which name their `masker` and `patchifier`.

    Masks are shown as the encoder sees them: cut, where batching cuts them. Returns the pictures'
    files, relative to `folder`, with the shares of context and targets, and the clip that the last
    one shows.
    """
    pictures, shown = [], ""
    for entry in trials:
        trial = build(entry["settings"], expect=Trial)
        sound = open_sound(trial.data, trial.mel, cache, probed=False)
        index = _clip(sound, trial.crop_frames)
        batch = windows(sound.store, index, trial.crop_frames, sound.normaliser)
        grid = trial.twin.grid
        name = f"{_plain(entry['masker'])}--{_plain(entry['patchifier'])}.png"
        mel = batch.mels[0]
        patches = trial.patchifier.cut(mel.unsqueeze(0))
        batching = trial.batching
        clips = trial.budget.batch if _takes_a_batch(trial) else 1
        picture = draw_masks(trial.masker, grid, mel, patches, batching=batching, clips=clips)
        write_atomically(folder / name, picture)
        labels = {"masker": entry["masker"], "patchifier": entry["patchifier"]}
        context, targets = _shares(trial, grid, patches)
        shares = {"context": context, "targets": targets}
        pictures.append({**labels, "file": name, **shares})
        clip = sound.store.clips[index]
        shown = f"{clip.path} ({clip.label})"
    return {"title": shown, "pictures": pictures}


def _shares(trial: Trial, grid: Grid, patches: Tensor) -> tuple[float, float]:
    """Returns the shares of context and targets after batching, on average over training.

    As a plan says them, but where samples of a batch depend on one another: that takes whole
    batches, and many.
    """
    coupled = trial.masker.promises.coupled
    if not _takes_a_batch(trial):
        found = realised_shares(trial.masker, grid)
        return found.context, found.targets
    clips, batches = trial.budget.batch, COUPLED_BATCHES if coupled else BATCHES
    content = patches.expand(clips, -1, -1) if trial.masker.promises.needs else None
    context = targets = 0.0
    for batch in range(batches):
        chance, progress = generator(0, "gallery", batch), batch / (batches - 1)
        mask = trial.masker(grid, clips, generator=chance, progress=progress, content=content)
        mask = truncate(mask, trial.batching, chance)
        context += float(mask.context.float().mean()) / batches
        targets += float(mask.target_union.float().mean()) / batches
    return round(context, 4), round(targets, 4)


def _takes_a_batch(trial: Trial) -> bool:
    """Tells whether a sample's mask depends on the others of its batch."""
    return trial.masker.promises.coupled or trial.batching.startswith("truncate")


def _clip(sound: Sound, crop_frames: int) -> int:
    """Picks the first clip to pre-train on that fills the window, else the longest of them."""
    for index in sound.train:
        if sound.store.lengths[index] >= crop_frames:
            return int(index)
    return int(sound.train[sound.store.lengths[sound.train].argmax()])


def _plain(label: str) -> str:
    """Makes a label fit for a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
