"""Lists the recipes that come with the package: in a checkout, or in the data of a wheel."""

from importlib import metadata
from pathlib import Path

RECIPES = "recipes/"
DATA = "share/ablate/"  # where an installed wheel keeps them, see pyproject.toml


def find_recipe(link: str) -> Path | None:
    """Finds a recipe by its path below `studies`, `recipes/a_jepa.yaml`; None if missing."""
    return list_recipes().get(link)


def list_recipes() -> dict[str, Path]:
    """Lists the recipes that come with the package, by their path below `studies`."""
    studies = Path(__file__).parents[2] / "studies"
    if (studies / RECIPES).is_dir():
        files = sorted((studies / RECIPES).rglob("*.yaml"))
        return {file.relative_to(studies).as_posix(): file for file in files}
    try:
        installed = metadata.files("ablate") or []
    except metadata.PackageNotFoundError:
        return {}
    return {
        file.as_posix().partition(DATA)[2]: Path(str(file.locate()))
        for file in installed
        if f"{DATA}{RECIPES}" in file.as_posix()
    }
