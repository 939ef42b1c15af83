"""The zoo's door: `ablate zoo` has a worker draw and measure a package's maskers."""

from collections.abc import Sequence
from pathlib import Path

from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.runs import store
from ablate.study.worker_query import Ask, errand, grid_of, maskers_of

STRIPS = 4  # columns of a grid of strips per column of squares: 64x4 beside 16x16 mel values


def show(
    package: str,
    *,
    grid: str,
    audio: Path | None = None,
    out: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Prints the table of a package's maskers and writes its gallery; returns the exit code.

    `grid` is patches in frequency by time, `8x64`. They are shown on the file `audio`, or on a
    made clip; the gallery lies in `out`, or among the reports.
    """
    console = create_console()
    folder = out or store.get_folders().reports / "zoo" / package

    def act(ask: Ask) -> None:
        from ablate.report.pages.masker_zoo import (
            MaskerZooPage,  # pandas: only once there is something to show
        )

        grids = _grids(*grid_of(grid))
        request = {
            "do": "zoo",
            "folder": str(folder.absolute()),
            "grids": grids,
            "audio": None if audio is None else str(audio),
            "maskers": maskers_of(package, ask),
        }
        zoo = MaskerZooPage(package, folder, ask(request))
        page, table = zoo.write(), zoo.tables[0]
        console.print(table.to_rich(console.width))
        for line in (*zoo.refusals(table), table.caption, "", str(page)):
            print_line(console, line)

    return errand(act, title=f"drawing {package}", console=console, command=command)


def _grids(freq: int, time: int) -> list[list[int]]:
    """Returns the grid that is asked for, and beside it the strips of the same clip."""
    return [[freq, time]] if freq == 1 else [[freq, time], [1, STRIPS * time]]
