"""A self-contained HTML report: one file, no network, readable in light and dark mode.

Text and names are escaped everywhere, images are inlined, and a content security policy forbids
the page to load or run anything.
"""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scimind.eval.writing import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_DOWNLOAD_BYTES = 5 << 20

_STYLE = """
:root { color-scheme: light dark; --fg: #1c2330; --muted: #5b6577; --bg: #f6f7f9;
  --card: #ffffff; --line: #dde2ea; --accent: #1f5fbf; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6e9ef; --muted: #a0a9ba; --bg: #12151b;
  --card: #1b2029; --line: #323a48; --accent: #7fb0ff; --bad: #ff9d94; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg);
  font: 16px/1.55 system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
p { margin: 0 0 .75rem; max-width: 48rem; white-space: pre-line; }
.subtitle, figcaption, caption { color: var(--muted); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
a { color: var(--accent); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1.25rem; margin-top: 1.25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; white-space: nowrap; }
tr.emphasis td, tr.emphasis th { font-weight: 650; }
figure { margin: 0 0 1rem; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: .4rem; }
.warning { color: var(--bad); }
"""


@dataclass
class Report:
    """Collects sections and writes them as one HTML file.

    Example::

        report = Report("ESOL", subtitle="tiny, 3 seeds")
        report.add_text("Summary", "0.98 log mol/L on 113 molecules of unseen scaffolds.")
        report.add_table("Scores", ["model", "rmse"], [["tiny", 0.98], ["mean", 2.31]])
        report.add_figure("Predictions", figure, alt="Predicted against measured solubility ...")
        report.write(Path("report.html"))

    Attributes:
        title: Heading and window title.
        subtitle: One line below it.
        language: Language of the text, as in ``<html lang>``.
    """

    title: str
    subtitle: str = ""
    language: str = "en"
    _sections: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def add_text(self, section: str, text: str, *, warning: bool = False) -> None:
        """Adds a paragraph; line breaks are kept.

        Args:
            section: Heading; the section is made on its first use.
            text: Plain text.
            warning: Shown in the colour of warnings.
        """
        kind = ' class="warning" role="note"' if warning else ""
        self._add(section, f"<p{kind}>{escape(text)}</p>")

    def add_table(
        self,
        section: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        caption: str = "",
        emphasis: Sequence[int] = (),
        limit: int = 200,
    ) -> None:
        """Adds a table; numbers are right-aligned with four significant digits.

        Args:
            section: Heading.
            columns: Column headings.
            rows: Cells as str, int, float, bool or None (shown as a dash).
            caption: Sentence above the table.
            emphasis: Indices of rows in bold.
            limit: Rows beyond it are counted in a closing line instead of shown.

        Raises:
            ValueError: A row is longer or shorter than the header.
        """
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"row {list(row)!r:.120} has not the {len(columns)} columns")
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
        marks = [' class="emphasis"' if index in emphasis else "" for index in range(len(rows))]
        body = "".join(
            f"<tr{mark}>{''.join(map(_cell, row))}</tr>"
            for mark, row in zip(marks[:limit], rows[:limit], strict=True)
        )
        about = f"<caption>{escape(caption)}</caption>" if caption else ""
        table = (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(section)}">'
            f"<table>{about}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
        if len(rows) > limit:
            table += f"<p>… and {len(rows) - limit} more rows.</p>"
        self._add(section, table)

    def add_figure(self, section: str, figure: Figure, *, alt: str, caption: str = "") -> None:
        """Adds a matplotlib figure as an inlined PNG.

        Args:
            section: Heading.
            figure: The figure; it is not closed.
            alt: What the figure shows, for readers who cannot see it.
            caption: Text below it.

        Raises:
            ValueError: ``alt`` is empty.
        """
        if not alt.strip():
            raise ValueError("a figure needs a text alternative; say in alt what it shows")
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=140, bbox_inches="tight", facecolor="white")
        data = base64.b64encode(image.getvalue()).decode("ascii")
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._add(
            section,
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alt)}">{below}</figure>',
        )

    def add_downloads(self, section: str, files: Sequence[Path]) -> None:
        """Adds links that save inlined copies of files; larger ones than 5 MiB are only named.

        Args:
            section: Heading.
            files: Files to inline.
        """
        entries = []
        for path in files:
            name, size = escape(path.name), path.stat().st_size
            if size > MAX_DOWNLOAD_BYTES:
                entries.append(f"<li>{name} ({size:,} bytes, beside this report)</li>")
                continue
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            entries.append(
                f'<li><a download="{name}" href="data:{kind};base64,{data}">{name}</a> '
                f"({size:,} bytes)</li>"
            )
        self._add(section, f"<ul>{''.join(entries)}</ul>")

    def add_facts(self, section: str, facts: Mapping[str, Any], *, caption: str = "") -> None:
        """Adds a two-column table of names and values."""
        rows = [[name, "" if value is None else str(value)] for name, value in facts.items()]
        self.add_table(section, ["", "value"], rows, caption=caption, limit=len(rows))

    def html(self) -> str:
        """The page."""
        sections, links = [], []
        for index, (heading, parts) in enumerate(self._sections.items()):
            anchor = f"section-{index}"
            links.append(f'<li><a href="#{anchor}">{escape(heading)}</a></li>')
            sections.append(
                f'<section id="{anchor}" aria-labelledby="{anchor}-heading">'
                f'<h2 id="{anchor}-heading">{escape(heading)}</h2>{"".join(parts)}</section>'
            )
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        return (
            f'<!DOCTYPE html>\n<html lang="{escape(self.language)}"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><main><header><h1>{escape(self.title)}</h1>{subtitle}</header>"
            f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'
            f"{''.join(sections)}</main></body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Writes the page, under its final name only once it is complete.

        Raises:
            EnvironmentProblem: The file cannot be written.
        """
        write_whole(path, self.html())

    def _add(self, section: str, content: str) -> None:
        self._sections.setdefault(section, []).append(content)


def _cell(value: Any) -> str:
    if value is None:
        return '<td class="number">–</td>'
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    return f"<td>{escape(str(value))}</td>"
