"""What the pages share: one file that holds its scripts, styles and numbers, in which text stays text."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from crvae3d.errors import InputError


def write(path: Path | str, text: str) -> Path:
    """Write a page; missing folders are made.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")  # names of files need not be text
    except OSError as reason:
        raise InputError(
            f"cannot write the page {path}: {reason.strerror}; name a file in a folder that you may write to"
        ) from None
    return path


def document(title: str, body: str, data: object, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A page that asks nothing of the network (about 5 MB, nearly all of it plotly's script).

    Args:
        title: plain text.
        body: HTML.
        data: JSON types, which the scripts find in the element "data".
        styles: names of files of this folder.
        scripts: likewise; they share one scope, in which those of `elements.js` come first.
    """
    from plotly.offline import get_plotlyjs

    parts = {
        "title": escape(title),
        "style": "\n".join(map(_asset, styles)),
        "body": body,
        "data": _embedded(data),
        "plotly": get_plotlyjs(),
        "scripts": "\n".join(map(_asset, ("elements.js", *scripts))),
    }
    return fill("frame.html", parts)


def fill(template: str, parts: Mapping[str, str]) -> str:
    """The template file with each `{{name}}` replaced, in one pass: a title that holds "{{data}}" stays a title."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset(template))


def _asset(name: str) -> str:
    return files("crvae3d.viewers").joinpath(name).read_text(encoding="utf-8")


def paragraphs(text: str) -> str:
    """Plain text in which a blank line starts a paragraph."""
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())


def bullets(kind: str, sentences: Sequence[str]) -> str:
    """A list of sentences of class `kind`, or nothing."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def folded(title: str, pairs: Mapping[str, object]) -> str:
    """Names and their values or meanings, folded under a title, or nothing."""
    if not pairs:
        return ""
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs.items())
    return f"<details><summary>{escape(title)}</summary><dl>{rows}</dl></details>"


def number(value: float | None) -> float | None:
    """A number that JSON can hold, or None where it is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def _embedded(data: object) -> str:
    """JSON that no HTML parser can end or read as markup, whatever the names in it hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
