"""The name under which pip knows this package, and the commands that install its extras."""

DISTRIBUTION = "ablate-jepa"  # on PyPI, `ablate` is a tool that writes experiment reports


def format_install_command(extra: str) -> str:
    """Formats the command that installs an optional dependency, for error messages.

    Args:
        extra: An optional dependency in pyproject.toml, such as `postgres`.
    """
    return f"pip install '{DISTRIBUTION}[{extra}]' (in a clone, pip install -e '.[{extra}]')"
