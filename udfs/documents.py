"""Documents: the text of office files (docx, xlsx, pptx, odt, ods, odp) and, with pypdf installed, of PDF files.

    LOAD 'udfs/documents.py';
    SELECT document_text(url_download(url)) FROM papers;
    SELECT d.url, p.number, p.text FROM documents AS d, document_pages(d.body) AS p;

Office files are zip archives of XML and need nothing but Python. Files of strangers may be broken or hostile: entries
that would unpack to more than 256 MB are refused before they are unpacked; to be safe from what parsers may do, run the
functions in processes of their own: SET udf.document_text.isolate = 'process'.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import TypedDict
from xml.etree import ElementTree

from sqlengine import udf

_MOST_UNPACKED = 256 << 20
_PIECE = 64 << 10


class Page(TypedDict):
    """A page of a PDF, a slide, a sheet, or the whole of a text document."""

    number: int
    text: str


@udf.table
def document_pages(data: bytes) -> Iterator[Page]:
    """The text by pages, slides or sheets."""
    for number, text in enumerate(_pages(data), 1):
        yield {"number": number, "text": text}


@udf
def document_text(data: bytes) -> str:
    """The text of the whole document, pages separated by a form feed."""
    return "\f".join(_pages(data))


@udf
def document_kind(data: bytes) -> str | None:
    """pdf, docx, xlsx, pptx, odt, ods, odp, or NULL."""
    return _kind(data)


def _kind(data: bytes) -> str | None:
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data[:4] != b"PK\x03\x04":
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        if "mimetype" in names:
            kind = _entry(archive, "mimetype").decode("ascii", "replace").rpartition(".")[2].strip()
            return {"text": "odt", "spreadsheet": "ods", "presentation": "odp"}.get(kind)
        for kind, name in (
            ("docx", "word/document.xml"),
            ("xlsx", "xl/workbook.xml"),
            ("pptx", "ppt/presentation.xml"),
        ):
            if name in names:
                return kind
    return None


def _pages(data: bytes) -> Iterator[str]:
    kind = _kind(data)
    if kind is None:
        raise ValueError("neither a PDF nor an office document")
    if kind == "pdf":
        yield from _pdf(data)
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        match kind:
            case "docx":
                yield _paragraphs(archive, "word/document.xml", "p", "t")
            case "pptx":
                for name in _numbered(archive, r"ppt/slides/slide(\d+)\.xml"):
                    yield _paragraphs(archive, name, "p", "t")
            case "xlsx":
                yield from _sheets(archive)
            case _:
                yield _paragraphs(archive, "content.xml", "p", None)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry's bytes, counted while they are unpacked: what the archive says of its size may be a lie."""
    if archive.getinfo(name).file_size > _MOST_UNPACKED:
        raise ValueError(f"{name} would unpack to more than {_MOST_UNPACKED >> 20} MB")
    out = bytearray()
    with archive.open(name) as file:
        while piece := file.read(_PIECE):
            out += piece
            if len(out) > _MOST_UNPACKED:
                raise ValueError(f"{name} unpacks to more than {_MOST_UNPACKED >> 20} MB")
    return bytes(out)


def _numbered(archive: zipfile.ZipFile, pattern: str) -> list[str]:
    found = [(int(m[1]), name) for name in archive.namelist() if (m := re.fullmatch(pattern, name))]
    return [name for _, name in sorted(found)]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _paragraphs(archive: zipfile.ZipFile, name: str, paragraph: str, run: str | None) -> str:
    """A line for each paragraph: of its runs of text, or (run None) of all that is inside."""
    lines = []
    for _, element in ElementTree.iterparse(io.BytesIO(_entry(archive, name))):
        if _local(element.tag) not in (paragraph, "h") or (run is not None and _local(element.tag) == "h"):
            continue
        if run is None:
            lines.append("".join(element.itertext()))
        else:
            parts = {run: lambda e: e.text or "", "tab": lambda e: "\t", "br": lambda e: "\n"}
            lines.append("".join(parts[tag](e) for e in element.iter() if (tag := _local(e.tag)) in parts))
        element.clear()
    return "\n".join(line for line in lines if line.strip())


def _sheets(archive: zipfile.ZipFile) -> Iterator[str]:
    """A line for each row, cells separated by tabs."""
    shared: list[str] = []
    if "xl/sharedStrings.xml" in archive.namelist():
        root = ElementTree.fromstring(_entry(archive, "xl/sharedStrings.xml"))
        shared = ["".join(e.text or "" for e in item.iter() if _local(e.tag) == "t") for item in root]
    for name in _numbered(archive, r"xl/worksheets/sheet(\d+)\.xml"):
        lines = []
        for _, element in ElementTree.iterparse(io.BytesIO(_entry(archive, name))):
            if _local(element.tag) == "row":
                lines.append("\t".join(_cell(cell, shared) for cell in element))
                element.clear()
        yield "\n".join(line for line in lines if line.strip())


def _cell(cell: ElementTree.Element, shared: list[str]) -> str:
    text = "".join(e.text or "" for e in cell.iter() if _local(e.tag) in ("v", "t"))
    return shared[int(text)] if cell.get("t") == "s" and text else text


def _pdf(data: bytes) -> Iterator[str]:
    try:
        from pypdf import PdfReader
    except ImportError:
        raise RuntimeError("PDF files need pypdf: pip install pypdf") from None
    for page in PdfReader(io.BytesIO(data)).pages:
        yield page.extract_text()
