"""The error for clips that cannot be used."""

from ablate.audio.manifest_reader import format_problems


class BadAudioError(ValueError):
    """Raised for clips that cannot be used; the message lists them with reasons and a remedy.

    Args:
        clips: (path, reason) of each.
    """

    def __init__(self, *clips: tuple[str, str]) -> None:
        problems = format_problems([f"`{path}`: {reason}" for path, reason in clips])
        remedy = "repair them, remove them from the manifest, or set `on_bad_audio: skip`"
        super().__init__(f"{problems}\n{remedy}")
        self.clips = clips
