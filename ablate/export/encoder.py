"""Exported encoders: modules that compute features of audio of any length, and can be trained."""

import functools
import hashlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.audio.decoding import open_audio_file
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.checked_tensors import load_tensors, save_tensors
from ablate.core.records.export import EXPORT_FILE
from ablate.core.records.run import ENCODER_FILE
from ablate.export.export import read_settings
from ablate.export.feature_files import (
    FileEncoder,
    FileFeatures,
    OnBadAudio,
    OnProgress,
    compute_file_features,
    find_audio_files,
    is_several_files,
    show_progress,
)
from ablate.export.hub import find_folder, upload_folder
from ablate.export.own_parts import import_own_parts
from ablate.export.waveform_encoder import Frames, WaveformEncoder, open_samples
from ablate.export.waveforms import (
    Sound,
    SoundOrFile,
    check_sample_rate,
    list_sounds,
    to_batch,
    to_waveform,
)
from ablate.export.windows import FramesInMemory
from ablate.probing.features import extract_features
from ablate.probing.views import View, parse_view

DEFAULT_VIEW = View("concat_freq")
_RATE_OF_FILES = "`sample_rate` is for waveforms; a file has its own, so leave it out"


class AudioEncoder(WaveformEncoder):
    """An encoder with its front end; it computes the same features as the run's probes.

    Use `ablate.load_encoder` or `from_pretrained` to load one. The methods that are named after
    features compute no gradients; calling the module does.

    Args:
        record: The settings of the encoder; its weights are not set.

    Raises:
        ValueError: If a part cannot be built.
    """

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, trust_source: bool = False
    ) -> "AudioEncoder":
        """Loads an encoder from a folder, or from the Hugging Face Hub.

        Args:
            name: The folder of an exported encoder or of a finished run; or else the name of a
                repository on the Hub, which is downloaded (needs `pip install 'ablate-jepa[hub]'`).
            revision: Branch, tag or commit of the repository.
            trust_source: Whether Python files in the folder may be imported: those of parts that
                are not of `ablate`, if the encoder was exported with its source.

        Returns:
            The encoder in evaluation mode, on the CPU.

        Raises:
            ValueError: For a folder without an encoder, with one of another format, or with a part
                that cannot be imported.
        """
        folder = find_folder(name, revision)
        record = read_settings(folder)
        import_own_parts(record, folder, trust_source=trust_source)
        encoder = cls(record)
        encoder.load_state_dict(load_tensors(folder / ENCODER_FILE))
        return encoder.eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes settings and weights to a folder from which `from_pretrained` loads them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / ENCODER_FILE, self.state_dict())
        with (folder / ENCODER_FILE).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        replace(self.record, weights=weights).write(folder / EXPORT_FILE)
        return folder

    def push_to_hub(self, name: str, *, private: bool = True) -> str:
        """Uploads the encoder to a repository on the Hugging Face Hub; returns its address.

        The repository is created if it does not exist. A model card is not written; upload the
        folder of `ablate export` to publish one.
        """
        with tempfile.TemporaryDirectory() as folder:
            return upload_folder(self.save_pretrained(folder), name, private=private)

    def features(
        self,
        sound: SoundOrFile | Sequence[SoundOrFile],
        *,
        sample_rate: int | None = None,
        view: View | str = DEFAULT_VIEW,
        to: str | Path | None = None,
        on_bad_audio: OnBadAudio = "raise",
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """Computes one feature vector per sound; sounds may have any length.

        Args:
            sound: One of

                - an audio file;
                - a waveform: array, tensor or list of numbers, (samples,) or (channels, samples),
                  as floats in [-1, 1] or as integers, which are scaled by their type;
                - a list of files or waveforms;
                - a folder, searched with its subfolders, or a pattern such as `folder/*.wav`.
            sample_rate: of waveforms, in Hz; default: `self.sample_rate`. Not allowed for files.
            view: the layer and pooling of the features, such as `layer3.mean`.
            to: only for a folder or pattern: the table to write, `.parquet` or `.npz`, with columns
                `path` and `features`. An interrupted call can be repeated; it continues.
            on_bad_audio: whether a folder's files that cannot be decoded are an error, or are left
                out, with a warning.
            on_progress: called with the number of files that are done and their total, for a
                folder or pattern. By default a terminal shows a progress bar.

        Returns:
            Features, (dim,) of one sound, (sounds, dim) of several, in the order of the list, or of
            the sorted paths. Views other than the default may have another size.

        Raises:
            BadAudioError: for a file that cannot be decoded.
            ValueError: for a waveform that is empty, not finite or of another shape, for a file
                with a `sample_rate`, for a folder without audio, and for a table that exists.

        Example:
            >>> encoder = ablate.load_encoder("exported")  # doctest: +SKIP
            >>> encoder.features("dog.wav").shape  # doctest: +SKIP
            torch.Size([768])
            >>> encoder.features("clips", to="features.parquet").shape  # doctest: +SKIP
            torch.Size([2000, 768])
        """
        view = parse_view(view) if isinstance(view, str) else view
        if is_several_files(sound):
            if sample_rate is not None:
                raise ValueError(_RATE_OF_FILES)
            result = self.file_features(
                sound, view=view, to=to, on_bad_audio=on_bad_audio, on_progress=on_progress
            )
            for path, reason in result.bad_files:
                warnings.warn(f"`{path}` was left out: {reason}", stacklevel=2)
            return torch.from_numpy(result.features)
        if to is not None:
            raise ValueError("`to` is for the features of a folder or of a pattern of files")
        sounds, is_list = list_sounds(sound)
        waveforms = [self._open(item, sample_rate) for item in sounds]
        frames = [self._to_frames(waveform) for waveform in waveforms]
        vectors = torch.from_numpy(self._pool(frames, view))
        return vectors if is_list else vectors[0]

    def clip_features(
        self, waveforms: Sound, *, sample_rate: int | None = None, view: View = DEFAULT_VIEW
    ) -> Tensor:
        """Computes one feature vector per waveform; long ones are processed window by window.

        Args:
            waveforms: (batch, samples), floats in [-1, 1] or integers, which are scaled.
            sample_rate: of the waveforms, in Hz; default: `self.sample_rate`.
            view: the layer and pooling of the features.

        Returns:
            Features, (batch, dim).

        Raises:
            ValueError: for waveforms of another shape, without samples or not finite.
        """
        rate, batch = self._get_rate(sample_rate), to_batch(waveforms)
        frames = [self._to_frames(open_samples(waveform, rate)) for waveform in batch]
        return torch.from_numpy(self._pool(frames, view))

    def features_over_time(self, waveforms: Sound, *, sample_rate: int | None = None) -> Tensor:
        """Computes a feature vector every `step_seconds`, for every patch that the sound begins.

        Vector `i` is computed from the `patch_seconds` after `i * step_seconds`; the last ones may
        reach past the end of the sound.

        Args:
            waveforms: (batch, samples), floats in [-1, 1] or integers, which are scaled.
            sample_rate: of the waveforms, in Hz; default: `self.sample_rate`.

        Returns:
            Features, (batch, time, dim).

        Raises:
            ValueError: for waveforms of another shape, without samples or not finite, and if the
                front end removes silence, so that frames have no times.
        """
        self._check_times()
        rate, batch = self._get_rate(sample_rate), to_batch(waveforms)
        frames = [self._to_frames(open_samples(waveform, rate)) for waveform in batch]
        rows = torch.from_numpy(self._pool(frames, DEFAULT_VIEW, by_moment=True))
        return rows.view(len(batch), -1, rows.shape[1])

    def file_features(
        self,
        place: str | Path,
        *,
        view: View | str = DEFAULT_VIEW,
        to: str | Path | None = None,
        on_bad_audio: OnBadAudio = "raise",
        on_progress: OnProgress | None = None,
    ) -> FileFeatures:
        """Does what `features` does for a folder or pattern; also returns paths and bad files."""
        view = parse_view(view) if isinstance(view, str) else view
        encoder = FileEncoder(
            to_frames=self._to_frames,
            pool_frames=functools.partial(self._pool, view=view),
            identity=f"{self.record.weights} {view.name}",
        )
        table = None if to is None else Path(to)
        with show_progress(on_progress) as report:
            return compute_file_features(
                encoder,
                find_audio_files(place),
                to=table,
                on_bad_audio=on_bad_audio,
                on_progress=report,
            )

    def _open(self, sound: SoundOrFile, rate: int | None) -> WaveformStream:
        if not isinstance(sound, str | Path):
            return open_samples(to_waveform(sound), self._get_rate(rate))
        if rate is not None:
            raise ValueError(_RATE_OF_FILES)
        return open_audio_file(Path(sound))

    def _get_rate(self, rate: int | None) -> int:
        return self.sample_rate if rate is None else check_sample_rate(rate)

    def _pool(
        self, frames: Sequence[Frames], view: View, *, by_moment: bool = False
    ) -> npt.NDArray[np.float32]:
        """Encodes clips; returns one row per clip or moment, (rows, dim), clip after clip."""
        reader, clips = self._get_extractor(over_time=by_moment), FramesInMemory(frames)
        blocks = extract_features(reader, clips, range(len(frames)), [view], by_moment=by_moment)
        return np.concatenate([block[view].rows for block in blocks])


def load_encoder(folder: str | Path, *, trust_source: bool = False) -> AudioEncoder:
    """Loads an encoder that `ablate export RUN --to FOLDER` wrote, or that of a run.

    Args:
        folder: The folder it was written to, or the folder of a finished run; or else the name of
            a repository on the Hugging Face Hub.
        trust_source: Whether Python files in the folder may be imported (see
            `AudioEncoder.from_pretrained`).

    Returns:
        The encoder with its front end, in evaluation mode, on the CPU.

    Raises:
        ValueError: If the folder contains no exported encoder, or one of another format.

    Example:
        >>> import ablate
        >>> import torch
        >>> encoder = ablate.load_encoder("exported")
        >>> features = encoder.features(torch.zeros(16000), sample_rate=16000)  # one second
        >>> features.shape == (encoder.dim,)
        True
    """
    return AudioEncoder.from_pretrained(folder, trust_source=trust_source)
