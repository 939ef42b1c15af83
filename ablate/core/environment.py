"""References to environment variables, `${NAME}`, in texts of a study."""

import os
import re
from collections.abc import Callable

REFERENCE = re.compile(r"\$\{(\w+)\}")


class MissingVariableError(LookupError):
    """A text refers to an environment variable that is not set; `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"${name}, which is not set")
        self.name = name


def replace_references(text: str, convert: Callable[[str], str] = str) -> str:
    """Replaces each `${NAME}` by the value of the environment variable, as `convert` returns it.

    Raises:
        MissingVariableError: for a variable that is not set.
    """

    def get_value(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise MissingVariableError(match[1])
        return convert(value)

    return REFERENCE.sub(get_value, text)
