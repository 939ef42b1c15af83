"""Draws the mask gallery: every masker on the same spectrogram, for every patchifier."""

from pathlib import Path

from ablate.audio.loader import cut_windows
from ablate.core.io import write_atomically
from ablate.core.records.messages import GalleryReply, GalleryRequest, GalleryTrial
from ablate.core.records.plan import MaskPicture
from ablate.mask_analysis.pictures import draw_masks
from ablate.mask_analysis.realised_shares import compute_realised_shares
from ablate.model.batching import is_cut
from ablate.parts import build
from ablate.worker.audio_data import AudioData, open_audio
from ablate.worker.trial import Trial


def draw_gallery(request: GalleryRequest, cache: Path) -> GalleryReply:
    """Draws a picture for each of a request's trials.

    Masks are drawn as the encoder sees them: cut, if the trial's batching cuts them. The reply's
    title names the clip of the last picture.
    """
    pictures, title = [], ""
    for entry in request.trials:
        trial = build(entry.settings, expect=Trial)
        audio = open_audio(trial.data, trial.mel, cache, probed=False)
        index = _find_clip(audio, trial.crop_frames)
        pictures.append(_draw_picture(request.folder, entry, trial, audio, index))
        clip = audio.store.clips[index]
        title = f"{clip.path} ({clip.label})"
    return GalleryReply(title=title, pictures=tuple(pictures))


def _draw_picture(
    folder: Path, entry: GalleryTrial, trial: Trial, audio: AudioData, index: int
) -> MaskPicture:
    batch = cut_windows(audio.store, index, trial.crop_frames, audio.normaliser)
    mel, grid, batching = batch.mels[0], trial.grid, trial.batching
    patches = trial.patchifier.cut(mel.unsqueeze(0))
    coupled = trial.masker.promises.coupled or is_cut(batching)
    clips = trial.budget.batch if coupled else 1
    picture = draw_masks(trial.masker, grid, mel, patches, batching=batching, clips=clips)
    file = f"{_to_file_name(entry.masker)}--{_to_file_name(entry.patchifier)}.png"
    write_atomically(folder / file, picture)
    shares = compute_realised_shares(trial.masker, grid, batching, trial.budget.batch)
    return MaskPicture(
        masker=entry.masker,
        patchifier=entry.patchifier,
        file=file,
        context=shares.context,
        targets=shares.targets,
    )


def _find_clip(audio: AudioData, crop_frames: int) -> int:
    """Returns the first pre-training clip that fills the window, else the longest one."""
    for index in audio.train:
        if audio.store.lengths[index] >= crop_frames:
            return int(index)
    return int(audio.train[audio.store.lengths[audio.train].argmax()])


def _to_file_name(label: str) -> str:
    """Replaces the characters of a label that a file name should not have."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in label)
