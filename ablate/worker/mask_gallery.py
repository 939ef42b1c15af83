"""The mask gallery: every masker on the same spectrogram, for every patchifier."""

from pathlib import Path
from typing import Any

from ablate.audio.loader import cut_windows
from ablate.core.io import write_atomically
from ablate.mask_analysis.pictures import draw_masks
from ablate.mask_analysis.statistics import realised_shares
from ablate.model.batching import is_cut
from ablate.parts import build
from ablate.worker.trial import Sound, Trial, open_sound


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
        batch = cut_windows(sound.store, index, trial.crop_frames, sound.normaliser)
        grid = trial.twin.grid
        name = f"{_plain(entry['masker'])}--{_plain(entry['patchifier'])}.png"
        mel = batch.mels[0]
        patches = trial.patchifier.cut(mel.unsqueeze(0))
        batching = trial.batching
        coupled = trial.masker.promises.coupled or is_cut(batching)
        clips = trial.budget.batch if coupled else 1
        picture = draw_masks(trial.masker, grid, mel, patches, batching=batching, clips=clips)
        write_atomically(folder / name, picture)
        labels = {"masker": entry["masker"], "patchifier": entry["patchifier"]}
        found = realised_shares(trial.masker, grid, batching, trial.budget.batch)
        shares = {"context": found.context, "targets": found.targets}
        pictures.append({**labels, "file": name, **shares})
        clip = sound.store.clips[index]
        shown = f"{clip.path} ({clip.label})"
    return {"title": shown, "pictures": pictures}


def _clip(sound: Sound, crop_frames: int) -> int:
    """Picks the first clip to pre-train on that fills the window, else the longest of them."""
    for index in sound.train:
        if sound.store.lengths[index] >= crop_frames:
            return int(index)
    return int(sound.train[sound.store.lengths[sound.train].argmax()])


def _plain(label: str) -> str:
    """Makes a label fit for a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
