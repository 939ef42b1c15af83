"""Find out, and prove, which mask and which patch make an audio JEPA learn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.export.frozen import load_encoder
    from ablate.report.dataframes import results

__all__ = ["load_encoder", "results"]


def __getattr__(name: str) -> object:
    """Loads what is asked for, so that importing the package costs nothing."""
    if name == "load_encoder":
        from ablate.export.frozen import load_encoder

        return load_encoder
    if name == "results":
        from ablate.report.dataframes import results

        return results
    raise AttributeError(f"module `ablate` has no attribute `{name}`")
