"""Lists the YAML files that come with the package: in a checkout, or in the data of a wheel."""

from importlib import metadata
from pathlib import Path

from ablate.core.distribution import DISTRIBUTION

RECIPES, PROFILES = "recipes/", "slurm/"
DATA = "share/ablate/"  # where an installed wheel keeps them, see pyproject.toml
ROOT = Path(__file__).parents[2]


def find_recipe(link: str) -> Path | None:
    """Finds a recipe by its path below `studies`, `recipes/a_jepa.yaml`; None if missing."""
    return list_recipes().get(link)


def list_recipes() -> dict[str, Path]:
    """Lists the recipes that come with the package, by their path below `studies`."""
    return {name: file for name, file in list_package_files().items() if name.startswith(RECIPES)}


def list_package_files() -> dict[str, Path]:
    """Lists studies (`masking.yaml`), recipes (`recipes/a_jepa.yaml`), profiles (`slurm/gpu.yaml`).

    The names of studies and recipes are their paths below `studies`.
    """
    studies = ROOT / "studies"
    if (studies / RECIPES).is_dir():
        recipes = sorted((studies / RECIPES).rglob("*.yaml"))
        files = [*sorted(studies.glob("*.yaml")), *recipes]
        profiles = {f"{PROFILES}{file.name}": file for file in (ROOT / PROFILES).glob("*.yaml")}
        return {file.relative_to(studies).as_posix(): file for file in files} | profiles
    try:
        installed = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    return {
        file.as_posix().partition(DATA)[2]: Path(str(file.locate()))
        for file in installed
        if DATA in file.as_posix() and file.suffix == ".yaml"
    }
