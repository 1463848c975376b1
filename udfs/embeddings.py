"""Embeddings without a model file: words and their letters hashed into a vector (feature hashing).

    LOAD 'udfs/embeddings.py';
    CREATE TABLE v AS SELECT id, embed(body) AS vector FROM articles;
    SELECT id, list_cosine_similarity(vector, (SELECT embed('lazy dog'))) AS score FROM v ORDER BY score DESC LIMIT 5;

Texts that share words, or most of the letters of words, have similar vectors; meaning is not understood. It is small,
deterministic, the same on every machine and needs no network: a baseline, and the pattern for a real model, which a
class loads once per worker:

    @udf(batch_rows=64, isolate="process", memory="2GB", returns="FLOAT[]")
    class Embed:
        def __init__(self): self.model = load_model()
        def __call__(self, text: str): return self.model.encode(text)
"""

from __future__ import annotations

import math
import re
import zlib

from sqlengine import udf

_WORD = re.compile(r"\w+")


@udf(name="embed", returns="FLOAT[]")
class Embed:
    """The vector of a text, of length 1 (NULL for a text without words)."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[tuple[int, float]]] = {}

    def __call__(self, text: str, dimensions: int = 256) -> list[float] | None:
        if dimensions < 8:
            raise ValueError("at least 8 dimensions")
        vector = [0.0] * dimensions
        counts: dict[str, int] = {}
        for word in _WORD.findall(text.casefold()):
            counts[word] = counts.get(word, 0) + 1
        for word, count in counts.items():
            weight = 1.0 + math.log(count)
            for place, value in self._features(word, dimensions):
                vector[place] += weight * value
        length = math.sqrt(sum(v * v for v in vector))
        return [v / length for v in vector] if length else None

    def _features(self, word: str, dimensions: int) -> list[tuple[int, float]]:
        """Places and values of a word: itself, and its runs of three letters with a third of the weight in all."""
        found = self._known.get((word, dimensions))
        if found is None:
            edged = f"<{word}>"
            runs = [edged[i : i + 3] for i in range(len(edged) - 2)]
            weighted = [(word, 1.0), *((run, 0.6 / math.sqrt(len(runs))) for run in runs)]
            found = [_hashed(part, weight, dimensions) for part, weight in weighted]
            if len(self._known) < 50_000:
                self._known[(word, dimensions)] = found
        return found


def _hashed(part: str, weight: float, dimensions: int) -> tuple[int, float]:
    code = zlib.crc32(part.encode()) * 0x9E3779B97F4A7C15 & (1 << 64) - 1  # the low bits of CRC alone are poor
    return (code >> 33) % dimensions, weight if code >> 32 & 1 else -weight
