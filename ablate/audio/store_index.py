"""The index file of a clip store: the clips, the positions of their frames, and their sources."""

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
    """The content of a complete store. The arrays may be memory-mapped."""

    clips: ClipTable
    first: npt.NDArray[np.int64]  # (clips,), the first frame of each clip
    lengths: npt.NDArray[np.int64]  # (clips,), in frames
    flags: npt.NDArray[np.uint32]  # (clips,), see `ClipFlag`
    digest: str
    skipped: tuple[StringColumn, StringColumn]  # paths, reasons
    keys: Keys  # (clips, 2), of all clips that the source lists
    list_version: str = ""  # the source's `list_version`
    label_problems: str = ""  # why the labels cannot be probed; empty if they can
    notes: tuple[str, ...] = ()  # about duplicates and dropped classes, in sentences
    end: int = 0  # one past the last frame

    def write(self, file: Path) -> None:
        """Writes the index, which marks the store as complete."""
        facts, columns = self.clips.to_columns()
        paths, reasons = self.skipped
        own: dict[str, Array] = {name: getattr(self, name) for name in _ARRAYS}
        own["skipped starts"], own["skipped text"] = paths.arrays()
        own["reasons starts"], own["reasons text"] = reasons.arrays()
        own_facts = {name: getattr(self, name) for name in _FACTS}
        write_columns(file, {**own_facts, "clips": facts}, {**columns, **own})


def read_index(file: Path) -> StoreIndex | None:
    """Memory-maps the index of a store.

    None if the store is incomplete or its index has another format; it is then rebuilt from the
    journal, without decoding anything again.
    """
    content = read_columns(file)
    if content is None:
        return None
    facts, columns = content
    arrays: dict[str, Any] = {name: columns[name] for name in _ARRAYS}
    return StoreIndex(
        clips=ClipTable.from_columns(facts["clips"], columns),
        skipped=(
            StringColumn(columns["skipped starts"], columns["skipped text"]),
            StringColumn(columns["reasons starts"], columns["reasons text"]),
        ),
        **arrays,
        **{**{name: facts[name] for name in _FACTS}, "notes": tuple(facts["notes"])},
    )


_ARRAYS = ("first", "lengths", "flags", "keys")
_FACTS = ("digest", "list_version", "label_problems", "notes", "end")
