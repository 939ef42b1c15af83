"""Draws the mask gallery: every masker on the same spectrogram, for every patchifier."""

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
    """Draws one picture per trial and writes it to `folder`.

    Masks are drawn as the encoder sees them, after batching.

    Args:
        folder: Where to write the pictures.
        trials: Entries with the labels `masker` and `patchifier`, and the trial's `settings`.
        cache: Folder of the audio cache.

    Returns:
        `pictures`: file names relative to `folder`, with the shares of context and targets.
        `title`: the clip of the last picture.
    """
    pictures, title = [], ""
    for entry in trials:
        trial = build(entry["settings"], expect=Trial)
        sound = open_sound(trial.data, trial.mel, cache, probed=False)
        index = _select_clip(sound, trial.crop_frames)
        batch = cut_windows(sound.store, index, trial.crop_frames, sound.normaliser)
        grid = trial.twin.grid
        name = f"{_to_file_name(entry['masker'])}--{_to_file_name(entry['patchifier'])}.png"
        mel = batch.mels[0]
        patches = trial.patchifier.cut(mel.unsqueeze(0))
        batching = trial.batching
        coupled = trial.masker.promises.coupled or is_cut(batching)
        clips = trial.budget.batch if coupled else 1
        picture = draw_masks(trial.masker, grid, mel, patches, batching=batching, clips=clips)
        write_atomically(folder / name, picture)
        labels = {"masker": entry["masker"], "patchifier": entry["patchifier"]}
        realised = realised_shares(trial.masker, grid, batching, trial.budget.batch)
        shares = {"context": realised.context, "targets": realised.targets}
        pictures.append({**labels, "file": name, **shares})
        clip = sound.store.clips[index]
        title = f"{clip.path} ({clip.label})"
    return {"title": title, "pictures": pictures}


def _select_clip(sound: Sound, crop_frames: int) -> int:
    """Returns the first pre-training clip that fills the window, or else the longest one."""
    for index in sound.train:
        if sound.store.lengths[index] >= crop_frames:
            return int(index)
    return int(sound.train[sound.store.lengths[sound.train].argmax()])


def _to_file_name(label: str) -> str:
    """Replaces the characters of a label that are unsafe in a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
