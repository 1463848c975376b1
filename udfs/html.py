"""HTML: the readable text, the title, and the links of a page.

    LOAD 'udfs/html.py';
    SELECT html_title(body), html_text(body) FROM pages;
    SELECT p.url, l.* FROM pages AS p, html_links(p.body, p.url) AS l;

Pages come as text; of bytes from `url_download` make it with `decode(body)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import TypedDict
from urllib.parse import urljoin

from sqlengine import udf

_HIDDEN = frozenset({"script", "style", "noscript", "template", "head", "svg", "iframe", "object"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre",
    "section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip


class Link(TypedDict):
    url: str
    text: str


class _Reader(HTMLParser):
    """Gathers text by blocks, the title, and links with their text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title: list[str] = []
        self.links: list[tuple[str, list[str]]] = []
        self.base: str | None = None
        self._hidden: list[str] = []
        self._in_title = self._in_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _HIDDEN:
            self._hidden.append(tag)
        if tag in _BLOCKS:
            self.parts.append("\n")
        if tag == "body":
            self._hidden.clear()  # a head that was never closed
        if tag == "title" and not self.title:
            self._in_title = True
        elif tag == "base" and self.base is None:
            self.base = given.get("href")
        elif tag == "a" and given.get("href"):
            self.links.append((given["href"] or "", []))
            self._in_link = True

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        if tag in _BLOCKS:
            self.parts.append("\n")
        if tag == "title":
            self._in_title = False
        elif tag == "a":
            self._in_link = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        if self._hidden:
            return
        self.parts.append(data)
        if self._in_link:
            self.links[-1][1].append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def _one_line(parts: list[str]) -> str:
    return re.sub(r"\s+", " ", "".join(parts)).strip()


@udf
def html_text(html: str) -> str:
    """What a reader sees: a line for each block, white space evened out, no scripts or styles."""
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in "".join(_read(html).parts).split("\n"))
    return "\n".join(line for line in lines if line)


@udf
def html_title(html: str) -> str | None:
    """The page's title, NULL when it has none."""
    return _one_line(_read(html).title) or None


@udf.table
def html_links(html: str, page: str = "") -> Iterator[Link]:
    """Every link with its text, in the order of the page; relative ones against `page` (and the page's own base)."""
    found = _read(html)
    start = urljoin(page, found.base or "")
    for href, text in found.links:
        yield {"url": urljoin(start, href.strip()), "text": _one_line(text)}
