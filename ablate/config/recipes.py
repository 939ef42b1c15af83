"""The recipes that come with the package: beside it in a checkout, among its data in a wheel."""

from importlib import metadata
from pathlib import Path

RECIPES = "recipes/"
DATA = "share/ablate/"  # of an installed wheel, as pyproject.toml lays it out


def recipe(link: str) -> Path | None:
    """Finds a recipe by its path below `studies`, `recipes/a_jepa.yaml`; None where it is none."""
    return recipes().get(link)


def recipes() -> dict[str, Path]:
    """Lists the recipes that come with the package, by their path below `studies`."""
    studies = Path(__file__).parents[2] / "studies"
    if (studies / RECIPES).is_dir():
        found = sorted((studies / RECIPES).rglob("*.yaml"))
        return {file.relative_to(studies).as_posix(): file for file in found}
    try:
        files = metadata.files("ablate") or []
    except metadata.PackageNotFoundError:
        return {}
    return {
        file.as_posix().partition(DATA)[2]: Path(str(file.locate()))
        for file in files
        if f"{DATA}{RECIPES}" in file.as_posix()
    }
