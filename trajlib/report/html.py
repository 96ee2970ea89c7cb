"""HTML pages of a report: of each executed notebook, the front page, and two reports compared."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape, unescape

from jinja2 import Environment, PackageLoader
from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

__all__ = ["render_comparison", "render_front", "render_notebook"]

_EXEC = "application/vnd.bokehjs_exec.v0+json"
_SCRIPT = "application/javascript"
_FIGURES = 4  # on the front page


def render_front(report: dict, pictures: dict[str, str]) -> str:
    """Return the front page of a report: see `make_report` for its parts.

    ``pictures`` holds the figure of a stage, by its name, as a ``data:`` URL.
    """
    stages = [stage for stage in report["stages"] if stage["status"] == "whole"]
    claims = [claim | {"stage": stage["name"]} for stage in stages for claim in stage["claims"]]
    shown = [stage for stage in stages if stage["name"] in pictures]
    shown.sort(key=lambda stage: not stage["claims"])  # those that bear a claim come first
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            report=report,
            answers=[s for s in stages if s["headline"] and (s["claims"] or s in shown)],
            claims=claims,
            verdicts=_count_verdicts(claims),
            figures=sorted(shown[:_FIGURES], key=lambda stage: stage["name"]),
            pictures=pictures,
            seconds=sum(stage["seconds"] for stage in report["stages"]),
        )
    )


def render_notebook(nb: NotebookNode, report: dict, stage: dict) -> str:
    """Return the page of an executed notebook, with contents and its neighbours in the report.

    Text of outputs and Markdown is escaped; scripts are Bokeh's alone, with BokehJS once.
    """
    page = _Page()
    cells = _join_code([page.show_cell(cell) for cell in nb.cells if cell.source])
    shown = [s for s in report["stages"] if s["status"] != "not run"]
    here = [s["name"] for s in shown].index(stage["name"])
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            stage=stage,
            cells=cells,
            headings=page.headings,
            bokeh=page.bokeh,
            before=shown[here - 1] if here else None,
            after=shown[here + 1] if here + 1 < len(shown) else None,
        )
    )


def render_comparison(found: dict) -> str:
    """Return the page of what :func:`trajlib.report.comparison.compare_reports` found."""
    counts = {part: _count(found[part], "moved") for part in ("parameters", "data", "numbers")}
    counts["claims"] = sum(r["verdict_before"] != r["verdict_after"] for r in found["claims"])
    counts["judged"] = sum(row["apart"] is not None for row in found["numbers"])
    counts["apart"] = _count(found["numbers"], "apart")
    pairs = dict.fromkeys(each["pair"] for each in found["reports"])
    template = _environment().get_template("comparison.html.j2")
    return template.render(report={"pair": ", ".join(pairs)}, found=found, counts=counts)


@dataclass
class _Page:
    """What one page remembers from cell to cell: its headings, and whether BokehJS is in."""

    headings: list[dict] = field(default_factory=list)
    loader: str = ""
    bokeh: bool = False

    def show_cell(self, cell: NotebookNode) -> dict:
        if cell.cell_type != "code":
            return {"kind": "markdown", "html": self.markdown(cell.source)}
        return {
            "kind": "code",
            "numbers": [cell.execution_count or "not run"],
            "html": highlight(cell.source, PythonLexer(), HtmlFormatter()),
            "outputs": [part for output in cell.outputs for part in self.show_output(output)],
        }

    def show_output(self, output: NotebookNode) -> Iterator[dict]:
        if output.output_type == "stream":
            yield {"kind": "text", "text": _settle(output.text)}
        elif output.output_type == "error":
            text, trace = output.evalue, "\n".join(output.traceback)
            yield {"kind": "error", "name": output.ename, "text": text, "traceback": trace}
        elif _SCRIPT in output.data:
            yield from self.show_script(output.data)
        else:
            yield from self.show_data(output.data)

    def show_data(self, data: NotebookNode) -> Iterator[dict]:
        section = self.headings[-1]["text"] if self.headings else "the notebook"
        if "application/vnd.jupyter.widget-view+json" in data:
            return  # a widget is dead without its kernel
        if "text/html" in data:
            yield {"kind": "html", "html": data["text/html"], "alt": f"Output: {section}"}
        elif "text/markdown" in data:
            yield {"kind": "markdown", "html": self.markdown(data["text/markdown"])}
        elif "image/svg+xml" in data:
            yield {"kind": "html", "html": data["image/svg+xml"], "alt": f"Figure: {section}"}
        elif "image/png" in data:
            source = f"data:image/png;base64,{data['image/png'].strip()}"
            yield {"kind": "image", "source": source, "alt": f"Figure: {section}"}
        elif "text/plain" in data:
            yield {"kind": "text", "text": data["text/plain"]}

    def show_script(self, data: NotebookNode) -> Iterator[dict]:
        if _EXEC not in data:
            self.loader = self.loader or data[_SCRIPT]  # output_notebook's, with BokehJS inline
            return
        if not self.bokeh:
            yield {"kind": "script", "script": _harmless(self.loader)}
        self.bokeh = True
        yield {"kind": "script", "script": _harmless(data[_SCRIPT])}

    def markdown(self, source: str) -> str:
        return MarkdownWithMath(renderer=_Renderer(self.headings)).render(source)


class _Renderer(IPythonRenderer):
    """Markdown with formulae as MathML, headings that are noted, and no raw HTML."""

    def __init__(self, headings: list[dict]):
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.headings = headings

    def heading(self, text: str, level: int, **attrs: object) -> str:
        plain = unescape(re.sub(r"<[^>]+>", "", text))
        anchor = f"{len(self.headings) + 1}-{re.sub(r'[^a-z0-9]+', '-', plain.lower()).strip('-')}"
        self.headings.append({"text": plain, "level": level, "anchor": anchor})
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text}{link}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return super().image(text, url, title) if url.startswith("data:image/") else text

    def inline_math(self, body: str) -> str:
        return _show_formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _show_formula(body, "block")


def _show_formula(body: str, display: str) -> str:
    try:
        return convert(body, display=display)
    except Exception:  # of many kinds; dollars in a text of the archive are no formula
        return f"<code>{escape(body)}</code>"


def _count(rows: list[dict], name: str) -> int:
    return sum(bool(row[name]) for row in rows)


def _count_verdicts(claims: list[dict]) -> str:
    """Return what became of claims, as in ``2 hold, 1 does not hold``."""
    counts = Counter(claim["verdict"] for claim in claims)
    plural = {"holds": "hold", "does not hold": "do not hold"}
    told = (
        (n, verdict if n == 1 else plural.get(verdict, verdict)) for verdict, n in counts.items()
    )
    return ", ".join(f"{n} {verdict}" for n, verdict in told)


def _join_code(cells: list[dict]) -> list[dict]:
    # what prepares something and shows nothing is one fold with what follows
    joined: list[dict] = []
    for cell in cells:
        last = joined[-1] if joined else {"kind": None}
        if cell["kind"] == last["kind"] == "code" and not last["outputs"]:
            numbers, html = last["numbers"] + cell["numbers"], last["html"] + cell["html"]
            joined[-1] = cell | {"numbers": numbers, "html": html}
        else:
            joined.append(cell)
    return joined


def _settle(text: str) -> str:
    # what a terminal would show in the end of lines that a progress bar wrote over
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _harmless(script: str) -> str:
    # text of an archive in a figure's data must not end the script it stands in
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _environment() -> Environment:
    templates = PackageLoader("trajlib.report")
    environment = Environment(
        loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = _duration
    environment.filters["shown"] = lambda value: "–" if value is None else value
    environment.globals["style"] = templates.get_source(environment, "style.css")[0]
    return environment
