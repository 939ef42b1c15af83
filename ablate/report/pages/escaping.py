"""Keeps text of a study, such as labels, from acting as markup, a link or a formula."""

import re

TAG = re.compile(r"<(?=[A-Za-z/!?])")
FORMULA_SIGNS = tuple("=+-@\t\r")  # a spreadsheet computes a cell that begins with one of these


def escape_markdown(text: str) -> str:
    """Escapes what would become HTML, a link or an image in Markdown; emphasis is left.

    Example:
        escape_markdown("p < 0.05, [a](b), <img>")  # r"p < 0.05, [a]\\(b), \\<img>"
    """
    return TAG.sub(r"\\<", text).replace("](", "]\\(")


def fence(text: str, language: str) -> str:
    """Formats a code block that no line of the text can end."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def neutralise_formula(value: object) -> object:
    """Returns text that a spreadsheet would compute with a leading apostrophe; else the value."""
    if not isinstance(value, str) or not value.startswith(FORMULA_SIGNS) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
