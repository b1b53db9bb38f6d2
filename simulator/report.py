"""Reports: sections of text, figures and tables in, one HTML file that opens offline out."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #444; font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: right; }
th { background: #f2f2f2; } td.text, th.text { text-align: left; }
caption, summary { text-align: left; font-weight: 600; padding: .3rem 0; }
td.text { min-width: 4rem; } summary { cursor: pointer; font-size: .9rem; }
.assumed { background: #fff3d6; } .unchecked { background: #ffe3d6; } .bad { background: #fbdcdc; font-weight: 600; }
.unknown { background: repeating-linear-gradient(135deg, #eee 0 4px, #fff 4px 8px); }
</style></head><body>
<h1>{{ title }}</h1>
{% if contents %}<ol>{% for section in sections if section.level == 2 %}<li><a href="#part{{ loop.index }}">
{{- section.title }}</a></li>{% endfor %}</ol>
{% endif %}{% set part = namespace(number=0) %}{% for section in sections %}{% if section.level == 2 %}
{%- set part.number = part.number + 1 %}<h2 id="part{{ part.number }}">{{ section.title }}</h2>
{% else %}<h{{ section.level }}>{{ section.title }}</h{{ section.level }}>
{% endif %}{% for paragraph in section.paragraphs %}<p>{{ paragraph }}</p>
{% endfor %}{% for caption, data in section.images %}<figure>
<img alt="{{ caption }}" src="data:image/png;base64,{{ data }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}{% for caption, table in section.tables %}{% if table.rows | length > long %}<details>
<summary>{{ caption }} ({{ table.rows | length }} rows)</summary>{% endif %}<div class="scroll"><table>
{%- if table.rows | length <= long %}{% if caption %}<caption>{{ caption }}</caption>{% endif %}{% endif %}
<tr>{% for name in table.columns %}<th class="{{ table.kinds[loop.index0] }}">{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>
{% for cell in row %}<td class="{{ table.kinds[loop.index0] }}{{ ' ' ~ cell.mark if cell.mark }}">{{ cell.text }}
{%- for words, address in cell.links %}{{ '; ' if not loop.first or cell.text }}
{%- if address %}<a href="{{ address }}">{{ words }}</a>{% else %}{{ words }}{% endif %}{% endfor %}</td>
{%- endfor %}</tr>
{% endfor %}</table></div>{% if table.rows | length > long %}</details>{% endif %}
{% endfor %}{% endfor %}</body></html>
"""


LONG = 35
"""A table with more rows than this may be opened and closed, and is closed at first."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than a number or text: set off by a mark, or with links after the text."""

    text: str
    mark: str = ""
    """`assumed`, `unchecked`, `unknown` or `bad`."""
    links: tuple[tuple[str, str], ...] = ()
    """(words, address), the address empty where there is none."""

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.text, *(words for words, _ in self.links))))


@dataclass(frozen=True)
class Section:
    """One part of a report: a title, paragraphs, figures (caption, PNG path) and tables (caption, frame)."""

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[tuple[str, Path]] = ()
    tables: Sequence[tuple[str, pd.DataFrame]] = field(default_factory=tuple)
    level: int = 2
    """Of the heading: 3 for a part of the section before."""

    @property
    def images(self) -> list[tuple[str, str]]:
        """Captions and base64 data of the figures."""
        return [(caption, base64.b64encode(path.read_bytes()).decode()) for caption, path in self.figures]


def write_report(path: Path, title: str, sections: Sequence[Section], *, contents: bool = False) -> Path:
    """Write one self-contained HTML file to `path`, whole or not at all; raises OSError if it cannot be written.

    With `contents`, it begins with a list of its sections, and long tables are closed at first.
    """
    import jinja2

    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(TEMPLATE)
    parts = [
        {
            "title": section.title,
            "level": section.level,
            "paragraphs": section.paragraphs,
            "images": section.images,
            "tables": [(caption, _cells(frame)) for caption, frame in section.tables],
        }
        for section in sections
    ]
    page = template.render(title=title, sections=parts, contents=contents, long=LONG if contents else math.inf)
    return write_whole(path, lambda part: part.write_text(page, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write a file under another name beside `path` and rename it: a stop leaves the old file or the whole new one.

    Raises OSError if it cannot be written. Access rights follow the umask.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def _cells(frame: pd.DataFrame) -> dict[str, Any]:
    def shown(value: object) -> Cell:
        if isinstance(value, Cell):
            return value
        if isinstance(value, float):
            return Cell("–" if value != value else f"{value:.3g}")
        return Cell(str(value))

    numeric = [frame[column].dtype.kind in "fiu" for column in frame.columns]
    return {
        "columns": [str(column) for column in frame.columns],
        "kinds": ["number" if is_number else "text" for is_number in numeric],
        "rows": [[shown(value) for value in row] for row in frame.itertuples(index=False)],
    }
