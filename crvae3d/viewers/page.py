"""One self-contained HTML page of a report: every script, style and number is inside the file."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np

from crvae3d.viewers.explained import CURVES, FIGURES, Explanation, explain
from crvae3d.viewers.markup import bullets, document, fill, folded, number, paragraphs, write
from crvae3d.viewers.report import CodeMap, Gallery, ModelReport, Picture, Report

MISSING = -32768
"""Stands for a coordinate that is not finite; the page's script knows it too."""

MAP = (
    "Posterior means of judged shapes, laid out in the plane. Two shapes that lie close together have similar codes; axes and "
    "far distances mean nothing."
)

_SCRIPTS = ("charts.js", "gallery.js", "page.js")
COLOURS = 6
"""Of models, in `page.css`; the scripts know the number too. A seventh model has the first one's."""


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
    return write(path, page(report))


def page(report: Report) -> str:
    """The page as text (about 5 MB, nearly all of it plotly's script)."""
    parts = {
        "title": escape(report.title),
        "alarms": bullets("alarms", report.alarms),
        "summary": paragraphs(report.summary),
        "table": _table(report),
        "notes": bullets("notes", [_of(report, note) for note in report.notes]),
        "pictures": "".join(map(_picture, report.pictures)),
        "map": escape(_of(report, MAP)),
        "settings": folded("Settings", report.settings),
    }
    return document(report.title, fill("page.html", parts), _data(report), ("page.css",), _SCRIPTS)


def _picture(picture: Picture) -> str:
    packed = base64.b64encode(picture.png).decode("ascii")
    image = f'<img class="picture" alt="{escape(picture.text)}" src="data:image/png;base64,{packed}">'
    return f"<section><h2>{escape(picture.title)}</h2><p>{escape(picture.text)}</p>{image}</section>"


def _table(report: Report) -> str:
    columns = [model.figures for model in report.models] + list(report.controls.values())
    named = {name for column in columns for name in column}
    order = {name: place for place, name in enumerate(FIGURES)}

    def key(name: str) -> tuple[int, str]:  # those of the pooled features stand below those of the codes
        stem = name.partition("/")[0]
        return order.get(stem, order.get(stem.removesuffix("_pooled"), len(order))), name

    rows = sorted(named, key=key)
    models = "".join(
        f'<th scope="col"><i class="swatch" style="--colour: var(--model-{place % COLOURS})"></i>{escape(model.name)}</th>'
        for place, model in enumerate(report.models)
    )
    controls = "".join(
        f'<th scope="col" class="control">{escape(name)}<small>control</small></th>' for name in report.controls
    )
    told = {name: _meaning(report, name) for name in rows}
    body = "".join(_row(told[name], [column.get(name) for column in columns], len(report.models)) for name in rows)
    head = (
        f'<thead><tr><th class="what"><span>{_of(report, "Judged shapes")}</span></th>{models}{controls}</tr></thead>'
    )
    return f'<table class="models" style="--columns: {len(columns)}">{head}<tbody>{body}</tbody></table>'


def _meaning(report: Report, name: str) -> Explanation:
    """What a figure means, in the words of the report's kind of data."""
    known = explain(name)
    words = {part: _of(report, getattr(known, part)) for part in ("title", "unit", "text")}
    return replace(known, **words)


def _of(report: Report, text: str) -> str:
    """A text about shapes, told of what the report is about."""
    return text.replace("shape", report.noun)


def _row(meaning: Explanation, values: list[float | None], models: int) -> str:
    shown = [meaning.show(value) for value in values]
    best = meaning.best(values)  # as printed: equal digits are a tie
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
        "curves": [curve | {"unit": _of(report, curve["unit"])} for curve in _curves(report.models)],
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
    return [number(value) for value in values]
