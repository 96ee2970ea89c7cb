"""HTML pages of a report: the front page, its companions, and one page for each notebook."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape, unescape
from importlib.resources import files

from jinja2 import Environment, PackageLoader
from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from trajlib.estimate import typeset
from trajlib.features.feature_sets import FEATURE_SETS
from trajlib.labels import display_feature_set, display_name, display_quantity
from trajlib.models.prediction_intervals import is_far_from_nominal
from trajlib.report.comparison import count_changes
from trajlib.report.content import Report, StageContent
from trajlib.report.front import answer, list_tiles
from trajlib.report.summary import SIMULATED, SUMMARY_TYPE

_EXEC = "application/vnd.bokehjs_exec.v0+json"
_SCRIPT = "application/javascript"
_FOLDED = 8  # rows from which a table is folded
_SETS = re.compile("|".join([*FEATURE_SETS, r"airborne_\d+"]))
_TARGETS = re.compile(r"\b(along|cross|duration)\b(?! track)")
_PREDICTORS = re.compile(r"\w+_(max|min|mean)\b")
# text of a page, and what is skipped: whole elements in which no term is linked, and tags
_TEXT = re.compile(r"<(a|h\d|code|pre|math)\b.*?</\1>|<[^>]+>|(?P<text>[^<\n]+)", re.DOTALL)


def render_front(report: Report, pictures: Mapping[str, str], explorer: str | None = None) -> str:
    """Return the front page of a report.

    Parameters
    ----------
    pictures
        ``map`` and ``arrivals`` as ``data:`` URLs, as far as there are any.
    explorer
        File of the explorer's page, if there is one.
    """
    has_front = bool(report.get("front"))
    return _render(
        "index.html.j2",
        report=report,
        answer=answer(report) if has_front else "",
        tiles=list_tiles(report) if has_front else [],
        verdicts=_count_verdicts(_list_claims(report)),
        pictures=pictures,
        explorer=explorer,
        simulated=SIMULATED,
    )


def render_companions(report: Report) -> dict[str, str]:
    """Return the other pages of a report without a notebook, by their names.

    These are the claims of the talk, the data, the models and the glossary.
    """
    return {
        "claims.html": _render("claims.html.j2", report=report, claims=_list_claims(report)),
        "data.html": _render("data.html.j2", report=report, simulated=SIMULATED),
        "models.html": _render("models.html.j2", report=report),
        "glossary.html": _render("glossary.html.j2", report=report, terms=_read_glossary()),
    }


def render_notebook(nb: NotebookNode, report: Report, stage: StageContent) -> str:
    """Return the page of an executed notebook, with contents and its neighbours in the report.

    Text of outputs and Markdown is escaped. Interactive figures are on the explorer's page.
    """
    page = _Page(explorer=f"{stage['name']}.explorer.html")
    sources = _drop_last_heading(_drop_empty_sections(nb.cells))
    sources = [cell for cell in sources if cell.source]
    cells = _join_code([page.show_cell(cell) for cell in sources])
    shown = [s for s in report["stages"] if s["status"] != "not run"]
    here = [s["name"] for s in shown].index(stage["name"])
    return _render(
        "page.html.j2",
        report=report,
        stage=stage,
        cells=cells,
        headings=page.headings,
        summary=page.summary,
        before=shown[here - 1] if here else None,
        after=shown[here + 1] if here + 1 < len(shown) else None,
    )


def render_explorer(nb: NotebookNode, report: Report, stage: StageContent) -> str | None:
    """Return the page of a notebook's interactive figures, or None where it has none.

    It contains only the scripts of Bokeh, with BokehJS once.
    """
    outputs = [output for cell in nb.cells for output in cell.get("outputs", ())]
    data = [output.data for output in outputs if "data" in output]
    figures = [each for each in data if _EXEC in each]
    if not figures:
        return None
    # output_notebook's, with BokehJS inline
    loader = next((each[_SCRIPT] for each in data if _SCRIPT in each and _EXEC not in each), "")
    scripts = [_harmless(script) for script in (loader, *(f[_SCRIPT] for f in figures))]
    roots = [each["text/html"] for each in data if "data-root-id" in each.get("text/html", "")]
    return _render("explorer.html.j2", report=report, stage=stage, roots=roots, scripts=scripts)


def render_comparison(comparison: dict) -> str:
    """Return the page of what :func:`trajlib.report.comparison.compare_reports` returns."""
    return _render(
        "comparison.html.j2",
        report={"pair": ", ".join(dict.fromkeys(r["pair"] for r in comparison["reports"]))},
        comparison=comparison,
        counts=count_changes(comparison),
    )


def _list_claims(report: Report) -> list[dict]:
    stages = [stage for stage in report["stages"] if stage["status"] == "whole"]
    return [claim | {"stage": stage["name"]} for stage in stages for claim in stage["claims"]]


@cache
def _read_glossary() -> dict[str, str]:
    """Return the definition of each term, as Markdown."""
    text = files("trajlib.report").joinpath("templates/glossary.md").read_text("utf-8")
    return {
        term.strip("`"): body for term, body in re.findall(r"^(.+)\n: (.+)$", text, re.MULTILINE)
    }


def _anchor(term: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


@dataclass
class _Page:
    """State of a page while its cells are converted: headings, terms, outputs shown elsewhere."""

    explorer: str
    headings: list[dict] = field(default_factory=list)
    terms: set[str] = field(default_factory=lambda: {term.lower() for term in _read_glossary()})
    summary: str = ""
    linked: bool = False

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
        elif SUMMARY_TYPE in output.data:
            self.summary = self.markdown(typeset(output.data["text/markdown"]))
        elif _SCRIPT in output.data or "data-root-id" in output.data.get("text/html", ""):
            if _EXEC in output.data and not self.linked:
                self.linked = True
                yield {"kind": "explorer", "page": self.explorer}
        else:
            yield from self.show_data(output.data)

    def show_data(self, data: NotebookNode) -> Iterator[dict]:
        section = self.headings[-1]["text"] if self.headings else "the notebook"
        if "text/html" in data:
            body = data["text/html"].partition("<tbody>")[2]
            rows = body.count("<tr")
            folded = rows if rows >= _FOLDED else 0
            alt = f"Table: {section}"
            yield {"kind": "html", "html": data["text/html"], "alt": alt, "rows": folded}
        elif "text/markdown" in data:
            yield {"kind": "markdown", "html": self.markdown(typeset(data["text/markdown"]))}
        elif "image/svg+xml" in data:
            yield {"kind": "html", "html": data["image/svg+xml"], "alt": f"Figure: {section}"}
        elif "image/png" in data:
            source = f"data:image/png;base64,{data['image/png'].strip()}"
            text = data.get("text/plain", "<")
            alt = f"Figure: {section}" if text.startswith("<") else text
            yield {"kind": "image", "source": source, "alt": alt}
        elif "text/plain" in data:
            yield {"kind": "text", "text": data["text/plain"]}

    def markdown(self, source: str) -> str:
        html = MarkdownWithMath(renderer=_Renderer(self.headings)).render(source)
        return _TEXT.sub(self.link_terms, html)

    def link_terms(self, match: re.Match) -> str:
        if not (match["text"] and self.terms):
            return match[0]
        names = "|".join(map(re.escape, sorted(self.terms, key=len, reverse=True)))
        pattern = re.compile(rf"(?<![\w-])({names})s?(?![\w-])", re.IGNORECASE)
        return pattern.sub(self.link_term, match[0])

    def link_term(self, match: re.Match) -> str:
        term = match[1].lower()
        if term not in self.terms:
            return match[0]
        self.terms.remove(term)
        return f'<a class="term" href="glossary.html#{_anchor(term)}">{match[0]}</a>'


class _Renderer(IPythonRenderer):
    """Markdown with formulae as MathML and without raw HTML; its headings are collected."""

    def __init__(self, headings: list[dict]):
        super().__init__(escape=True, allow_harmful_protocols=False)
        self.headings = headings

    def heading(self, text: str, level: int, **attrs: object) -> str:
        plain = unescape(re.sub(r"<[^>]+>", "", text))
        anchor = f"{len(self.headings) + 1}-{_anchor(plain)}"
        self.headings.append({"text": plain, "level": level, "anchor": anchor})
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text}{link}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return super().image(text, url, title) if url.startswith("data:image/") else text

    def inline_math(self, body: str) -> str:
        return _show_formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _show_formula(body, "block")


def _drop_last_heading(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return cells without a heading above the summary, which is shown at the top of the page."""
    if len(cells) < 2 or cells[-2].cell_type != "markdown":
        return cells
    outputs = cells[-1].get("outputs", [])
    if not outputs or any(SUMMARY_TYPE not in output.get("data", {}) for output in outputs):
        return cells
    source = re.sub(r"(^|\n)#+ [^\n]*\s*$", "", cells[-2].source)
    return [*cells[:-2], NotebookNode(cells[-2] | {"source": source}), cells[-1]]


def _drop_empty_sections(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return cells without the sections whose code shows nothing, as there are no data for it."""
    sections: list[list[NotebookNode]] = [[]]
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    kept = []
    for section in sections:
        code = [cell for cell in section if cell.cell_type == "code"]
        shows_nothing = code and all(cell.execution_count and not cell.outputs for cell in code)
        if section is sections[0] or not shows_nothing:
            kept += section
    return kept


def _show_formula(body: str, display: str) -> str:
    try:
        return convert(body, display=display)
    except Exception:  # of many types: dollars in a text of the archive are not a formula
        return f"<code>{escape(body)}</code>"


def _count_verdicts(claims: list[dict]) -> str:
    """Return the number of claims by verdict, as in ``2 hold, 1 does not hold``."""
    counts = Counter(claim["verdict"] for claim in claims)
    plural = {"holds": "hold", "does not hold": "do not hold"}
    return ", ".join(
        f"{number} {verdict if number == 1 else plural.get(verdict, verdict)}"
        for verdict, number in counts.items()
    )


def _join_code(cells: list[dict]) -> list[dict]:
    """Return cells in which code without outputs is in one fold with the code after it."""
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
    # keep the last state of lines that a progress bar wrote over
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _harmless(script: str) -> str:
    # text of an archive in a figure's data must not end the script that contains it
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _display_label(label: str) -> str:
    """Return the label of a number with display names of feature sets, targets and predictors."""
    label = _SETS.sub(lambda match: display_feature_set(match[0]), label)
    label = _TARGETS.sub(lambda match: display_quantity(match[0]), label)
    return _PREDICTORS.sub(lambda match: display_name(match[0]), label).replace("_", " ")


def _format_duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    loader = PackageLoader("trajlib.report")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    markdown = MarkdownWithMath(renderer=_Renderer([]))
    environment.filters |= {
        "anchor": _anchor,
        "feature_set": display_feature_set,
        "label": _display_label,
        "duration": _format_duration,
        "markdown": markdown.render,
        "minus": lambda text: typeset(str(text)),
        "quantity": display_quantity,
        "shown": lambda value: "–" if value is None else typeset(str(value)),
    }
    environment.tests["far_from"] = is_far_from_nominal
    environment.globals["style"] = loader.get_source(environment, "style.css")[0]
    return environment
