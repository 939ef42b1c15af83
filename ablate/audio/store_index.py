"""A store's index: its clips, where their frames lie, and what they were made from, mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipTable
from ablate.audio.column_file import Array, StringColumn, read_columns, write_columns
from ablate.audio.store_journal import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreIndex:
    """What a complete store holds. Its arrays may lie on disk."""

    clips: ClipTable
    first: npt.NDArray[np.int64]  # (clips,), the frame that each begins with
    lengths: npt.NDArray[np.int64]  # (clips,), frames
    silent: npt.NDArray[np.bool_]  # (clips,)
    digest: str
    skipped: tuple[StringColumn, StringColumn]  # paths and reasons of the clips that were left out
    keys: Keys  # of all clips that the source lists
    edition: str = ""  # of the source's list
    label_problems: str = ""  # why these labels cannot be probed
    end: int = 0  # frame after the last

    def write(self, file: Path) -> None:
        """Declares a store complete."""
        facts, columns = self.clips.to_columns()
        paths, reasons = self.skipped
        own: dict[str, Array] = {name: getattr(self, name) for name in _ARRAYS}
        own["skipped starts"], own["skipped text"] = paths.arrays()
        own["reasons starts"], own["reasons text"] = reasons.arrays()
        told = {name: getattr(self, name) for name in _FACTS}
        write_columns(file, {**told, "clips": facts}, {**columns, **own})


def read_index(file: Path) -> StoreIndex | None:
    """Maps the index of a complete store, or returns None."""
    found = read_columns(file)
    if found is None:
        return None
    facts, columns = found
    arrays: dict[str, Any] = {name: columns[name] for name in _ARRAYS}
    return StoreIndex(
        clips=ClipTable.from_columns(facts["clips"], columns),
        skipped=(
            StringColumn(columns["skipped starts"], columns["skipped text"]),
            StringColumn(columns["reasons starts"], columns["reasons text"]),
        ),
        **arrays,
        **{name: facts[name] for name in _FACTS},
    )


_ARRAYS = ("first", "lengths", "silent", "keys")
_FACTS = ("digest", "edition", "label_problems", "end")
