"""The `notes` of a study: what its levels mean, a line each, for who reads the report."""

from collections.abc import Mapping

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean


def check_notes(
    text: Node, factors: Mapping[str, Mapping[str, Node]], problems: list[str]
) -> dict[str, str]:
    """Reads the section, label -> line; what is wrong is added to `problems`."""
    node = text.children.get("notes")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        rule = "`notes` must map names of levels to a line each"
        problems.append(f"{node.place}: {rule}; got {node.plain()!r}")
    known = {label for levels in factors.values() for label in levels}
    for label, child in node.children.items():
        if label not in known:
            problem = f"`notes` explains `{label}`, which is no level{did_you_mean(label, known)}"
            problems.append(f"{child.place}: {problem}")
        if not isinstance(child.value, str) or not child.value.strip() or "\n" in child.value:
            rule = f"the note on `{label}` must be a line of text"
            problems.append(f"{child.place}: {rule}; got {child.plain()!r}")
    return {label: str(child.value) for label, child in node.children.items()}
