"""A file that keeps errors of its disk, which decoders in C take for the end of the file."""

import io
from pathlib import Path
from typing import Any, BinaryIO

from ablate.core.machine_errors import find_remedy


class WatchedFile(io.FileIO):
    """A file that keeps the first error of a read.

    Attributes:
        error: That error; None if every read has succeeded.
    """

    error: OSError | None = None

    def readinto(self, buffer: Any) -> int | None:
        """Reads into a buffer, as `io.FileIO` does."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            error.filename = self.name
            self.error = self.error or error
            raise


def open_watched(path: Path) -> BinaryIO:
    """Opens a file to be decoded. Raises `OSError`."""
    return io.BufferedReader(WatchedFile(path))


def raise_disk_error(file: BinaryIO | None, error: Exception | None = None) -> None:
    """Raises the error of a disk that does not answer, which says nothing about the sound.

    Args:
        file: What is decoded.
        error: What the decoder raised.

    Raises:
        OSError: The file has kept such an error, or `error` is one.
    """
    for cause in (getattr(getattr(file, "raw", None), "error", None), error):
        if isinstance(cause, OSError) and find_remedy(cause) is not None:
            raise cause
