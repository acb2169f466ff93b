"""One self-contained HTML page of a report: every script, style and number is inside the file."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from crvae3d.errors import InputError
from crvae3d.viewers.explained import CURVES, FIGURES, Explanation, explain
from crvae3d.viewers.report import CodeMap, Gallery, ModelReport, Report

MISSING = -32768
"""Stands for a coordinate that is not finite; the page's script knows it too."""

_SCRIPTS = ("charts.js", "gallery.js", "page.js")


def write_page(path: Path | str, report: Report) -> Path:
    """Write `report` as one HTML file that asks nothing of the network.

    Args:
        path: where the page goes; missing folders are made.
        report: what it shows. Names and ids may hold any text.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(report), encoding="utf-8")
    except OSError as reason:
        raise InputError(
            f"cannot write the page {path}: {reason.strerror}; name a file in a folder that you may write to"
        ) from None
    return path


def page(report: Report) -> str:
    """The page as text (about 5 MB, nearly all of it plotly's script)."""
    from plotly.offline import get_plotlyjs

    parts = {
        "title": escape(report.title),
        "style": _asset("page.css"),
        "alarms": _list("alarms", report.alarms),
        "summary": "".join(f"<p>{escape(text)}</p>" for text in report.summary.split("\n\n") if text.strip()),
        "table": _table(report),
        "notes": _list("notes", report.notes),
        "settings": _settings(report.settings),
        "data": _json(_data(report)),
        "plotly": get_plotlyjs(),
        "scripts": "\n".join(_asset(name) for name in _SCRIPTS),
    }
    # one pass, so that a title which holds "{{data}}" stays a title
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files("crvae3d.viewers").joinpath(name).read_text(encoding="utf-8")


def _list(kind: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _settings(settings: Mapping[str, object]) -> str:
    if not settings:
        return ""
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in settings.items())
    return f"<details><summary>Settings</summary><dl>{rows}</dl></details>"


def _table(report: Report) -> str:
    columns = [model.figures for model in report.models] + list(report.controls.values())
    named = {name for column in columns for name in column}
    order = {name: place for place, name in enumerate(FIGURES)}
    rows = sorted(named, key=lambda name: (order.get(name.partition("/")[0], len(order)), name))
    models = "".join(
        f'<th scope="col"><i class="swatch" style="--colour: var(--model-{place})"></i>{escape(model.name)}</th>'
        for place, model in enumerate(report.models)
    )
    controls = "".join(
        f'<th scope="col" class="control">{escape(name)}<small>control</small></th>' for name in report.controls
    )
    body = "".join(_row(explain(name), [column.get(name) for column in columns], len(report.models)) for name in rows)
    head = f'<thead><tr><th class="what"><span>Test shapes</span></th>{models}{controls}</tr></thead>'
    return f'<table style="--columns: {len(columns)}">{head}<tbody>{body}</tbody></table>'


def _row(meaning: Explanation, values: list[float | None], models: int) -> str:
    shown = [meaning.show(value) for value in values]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    best = None
    if meaning.better and len({meaning.show(value) for value in finite}) > 1:  # as printed: equal digits are a tie
        best = meaning.show((max if meaning.better == "higher" else min)(finite))
    cells = "".join(
        f'<td class="{"best" if text == best else ""}{" control" if place >= models else ""}">{text}</td>'
        for place, text in enumerate(shown)
    )
    unit = f" <span>{meaning.unit}</span>" if meaning.unit else ""
    better = f" {meaning.better.capitalize()} is better." if meaning.better and meaning.text else ""
    text = f"<small>{escape(meaning.text)}{better}</small>" if meaning.text else ""
    return f'<tr><th scope="row" class="what"><div>{escape(meaning.title)}{unit}{text}</div></th>{cells}</tr>'


def _data(report: Report) -> dict:
    """All that the scripts draw, as JSON types; coordinates are packed."""
    return {
        "models": [{"name": model.name, "codes": _map(model.codes)} for model in report.models],
        "curves": _curves(report.models),
        "gallery": _gallery(report.gallery),
    }


def _map(codes: CodeMap | None) -> dict | None:
    if codes is None or len(codes.positions) == 0:
        return None
    positions = np.round(codes.positions.astype(float), 3)
    return {
        "x": _numbers(positions[:, 0]),
        "y": _numbers(positions[:, 1]),
        "ids": [str(name) for name in codes.ids],
        "classes": [str(name) for name in codes.classes],
    }


def _curves(models: Sequence[ModelReport]) -> list[dict]:
    """One plot a quantity, in the order in which they are explained; one line a model and split."""
    plots: dict[str, list[dict]] = {}
    for place, model in enumerate(models):
        for name, (epochs, values) in model.curves.items():
            split, _, quantity = name.rpartition("/")
            line = {"model": place, "split": split, "epochs": _numbers(epochs), "values": _numbers(values)}
            plots.setdefault(quantity, []).append(line)
    known = [name for name in CURVES if name in plots]
    rest = [name for name in plots if name not in CURVES]
    meanings = {name: CURVES.get(name, Explanation(name.replace("_", " "))) for name in known + rest}
    return [
        {"title": meaning.title, "unit": meaning.unit, "text": meaning.text, "lines": plots[name]}
        for name, meaning in meanings.items()
    ]


def _gallery(gallery: Gallery | None) -> dict | None:
    if gallery is None or len(gallery.originals) == 0:
        return None
    extent = float(np.abs(gallery.originals[np.isfinite(gallery.originals)]).max(initial=1e-6)) * 2
    chamfer = FIGURES["chamfer"]
    return {
        "ids": [str(name) for name in gallery.ids],
        "classes": [str(name) for name in gallery.classes],
        "scale": extent / -(MISSING + 1),
        "originals": _packed(gallery.originals, extent),
        "reconstructions": {name: _packed(clouds, extent) for name, clouds in gallery.reconstructions.items()},
        "chamfers": {
            name: [f"{chamfer.show(float(value))} · {chamfer.unit}" for value in values]
            for name, values in gallery.chamfers.items()
        },
    }


def _packed(clouds: np.ndarray, extent: float) -> dict:
    """Little-endian int16 in base64; what lies beyond `extent` is put on it, what is not finite is `MISSING`."""
    finite = np.isfinite(clouds)
    units = np.clip(np.where(finite, clouds, 0) / extent, -1, 1) * -(MISSING + 1)
    integers = np.where(finite, np.rint(units), MISSING).astype("<i2")
    return {"points": clouds.shape[1], "packed": base64.b64encode(integers.tobytes()).decode("ascii")}


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _json(data: dict) -> str:
    """JSON that no HTML parser can end or read as markup, whatever the ids hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
