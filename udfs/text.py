"""Text: normal form, words, chunks for retrieval, and near-duplicates by minhash.

    LOAD 'udfs/text.py';
    SELECT normalise_text(body), words(body) FROM articles;
    SELECT a.id, c.* FROM articles AS a, chunk_text(a.body, 800, 100) AS c;

Near-duplicates without comparing every pair: texts that share one of the bands are candidates, `minhash_similarity`
judges them.

    CREATE TABLE signed AS SELECT id, minhash(body) AS signature FROM articles;
    CREATE TABLE banded AS SELECT id, signature, b.band FROM signed, minhash_bands(signature) AS b;
    SELECT DISTINCT a.id, b.id, minhash_similarity(a.signature, b.signature) AS similarity
    FROM banded AS a JOIN banded AS b ON a.band = b.band AND a.id < b.id
    WHERE minhash_similarity(a.signature, b.signature) > 0.7;

Everything is language-neutral: words are runs of letters and digits by Unicode, and of scripts written without spaces
(Chinese, Japanese, Thai, ...) single characters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from typing import TypedDict

from sqlengine import udf

_SPACES = re.compile(r"\s+")
# A single character of a script without spaces, or a run of letters, digits and marks of any other.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+(?:['’][^\\W{_UNSPACED}]+)*")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n\s*\n")
_PRIME = (1 << 61) - 1


class Chunk(TypedDict):
    """`start`: the place of its first character in the text."""

    number: int
    start: int
    text: str


class Band(TypedDict):
    band: int


@udf
def normalise_text(text: str) -> str:
    """Compatibility forms, accents, letter case and white space evened out: 'Ｃafé\\n LATTE' -> 'cafe latte'."""
    unfolded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in unfolded if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Mn"))
    return _SPACES.sub(" ", unicodedata.normalize("NFC", kept)).strip()


@udf
def words(text: str) -> list[str]:
    """The words of a text, as they stand there."""
    return _WORD.findall(text)


@udf.table
def chunk_text(text: str, size: int = 1000, overlap: int = 0) -> Iterator[Chunk]:
    """Pieces of at most `size` characters that end, if they can, where a sentence ends (else a word); each repeats
    about `overlap` characters of the one before."""
    if size < 1 or not 0 <= overlap < size:
        raise ValueError("size must be at least 1, and overlap smaller than it")
    start = number = 0
    while start < len(text):
        stop = min(len(text), start + size)
        if stop < len(text):
            stop = _good_end(text, start, stop)
        piece = text[start:stop]
        if piece.strip():
            number += 1
            lead = len(piece) - len(piece.lstrip())
            yield {"number": number, "start": start + lead, "text": piece.strip()}
        if stop == len(text):
            return
        start = max(stop - overlap, start + 1)


def _good_end(text: str, start: int, stop: int) -> int:
    """The last end of a sentence in the second half of the piece, or of a word, or the piece's own end."""
    half = start + (stop - start) // 2
    ends = [m.end() for m in _SENTENCE_ENDS.finditer(text, half, min(len(text), stop + 2)) if m.end() <= stop]
    if ends:
        return ends[-1]
    spaces = [m.end() for m in _SPACES.finditer(text, half, stop)]
    return spaces[-1] if spaces else stop


@udf
def minhash(text: str, size: int = 64, shingle: int = 3) -> list[int]:
    """`size` numbers, of which two texts share as large a part as they share runs of `shingle` words."""
    if size < 1 or shingle < 1:
        raise ValueError("size and shingle must be at least 1")
    found = _WORD.findall(text.casefold())
    runs = {" ".join(found[i : i + shingle]) for i in range(max(1, len(found) - shingle + 1))}
    hashes = [int.from_bytes(hashlib.blake2b(run.encode(), digest_size=7).digest(), "little") for run in runs]
    return [min((a * h + b) % _PRIME for h in hashes) for a, b in _permutations(size)]


_made: dict[int, list[tuple[int, int]]] = {}


def _permutations(size: int) -> list[tuple[int, int]]:
    """The same for every process: multipliers and offsets from a hash of their number."""
    if size not in _made:
        numbers = [int.from_bytes(hashlib.blake2b(b"%d" % i, digest_size=16).digest(), "little") for i in range(size)]
        _made[size] = [((n & ((1 << 60) - 1)) | 1, n >> 64) for n in numbers]
    return _made[size]


@udf
def minhash_similarity(first: list[int], second: list[int]) -> float:
    """About the part of their runs of words that two texts share (Jaccard), from their signatures."""
    if len(first) != len(second):
        raise ValueError("signatures of different sizes")
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


@udf.table
def minhash_bands(signature: list[int], rows: int = 4) -> Iterator[Band]:
    """A number for each `rows` numbers of a signature: similar texts share at least one. With more rows fewer
    candidates, and fewer that are found: at 64 numbers and 4 rows a similarity of 0.7 is found in 99 of 100 cases."""
    for start in range(0, len(signature) - rows + 1, rows):
        part = b"".join(n.to_bytes(8, "little") for n in (start, *signature[start : start + rows]))
        yield {"band": int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "little", signed=True)}
