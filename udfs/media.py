"""Archives and sound: what is in a zip or tar file, and what a WAV, FLAC or MP3 file says of itself.

LOAD 'udfs/media.py';
SELECT a.url, e.* FROM archives AS a, archive_entries(a.body) AS e;
SELECT archive_read(body, 'README.md', 1000000) FROM archives;
SELECT audio_info(url_download(url)) FROM songs;
"""

from __future__ import annotations

import datetime
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from typing import TypedDict

from sqlengine import udf

_MOST = 256 << 20


class Entry(TypedDict):
    """`packed`: bytes in the archive, NULL where the format does not say (tar)."""

    name: str
    size: int
    packed: int | None
    modified: datetime.datetime | None
    directory: bool


class Audio(TypedDict):
    format: str
    seconds: float | None
    rate: int | None
    channels: int | None
    bits: int | None
    title: str | None
    artist: str | None


@udf.table
def archive_entries(data: bytes) -> Iterator[Entry]:
    """The entries of a zip or tar archive (also .tar.gz, .tar.bz2, .tar.xz); nothing is unpacked to disk."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for item in archive.infolist():
                yield {
                    "name": item.filename,
                    "size": item.file_size,
                    "packed": item.compress_size,
                    "modified": _moment(item.date_time),
                    "directory": item.is_dir(),
                }
        return
    with _tar(data) as tar:
        for member in tar:
            when = datetime.datetime.fromtimestamp(member.mtime, datetime.UTC).replace(tzinfo=None)
            yield {
                "name": member.name, "size": member.size, "packed": None, "modified": when,
                "directory": member.isdir(),
            }  # fmt: skip


@udf
def archive_read(data: bytes, name: str, most: int = _MOST) -> bytes | None:
    """The bytes of one entry; NULL when there is none of that name, an error when it has more than `most`."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if name not in archive.namelist():
                return None
            with archive.open(name) as file:
                return _bounded(file.read(most + 1), name, most)
    with _tar(data) as tar:
        for member in tar:
            if member.name == name and member.isfile():
                found = tar.extractfile(member)
                return None if found is None else _bounded(found.read(most + 1), name, most)
    return None


def _tar(data: bytes) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=io.BytesIO(data), mode="r:*")
    except tarfile.TarError:
        raise ValueError("neither a zip nor a tar archive") from None


def _bounded(read: bytes, name: str, most: int) -> bytes:
    if len(read) > most:
        raise ValueError(f"{name} has more than {most} bytes")
    return read


def _moment(parts: tuple[int, int, int, int, int, int]) -> datetime.datetime | None:
    try:
        return datetime.datetime(*parts)
    except ValueError:
        return None


@udf
def audio_info(data: bytes) -> Audio:
    """Format, seconds, sample rate, channels and bits; title and artist from the tags of MP3 and FLAC."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav(data)
    if data[:4] == b"fLaC":
        return _flac(data)
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return _mp3(data)
    raise ValueError("neither WAV, FLAC nor MP3")


def _audio(format_: str) -> Audio:
    return {"format": format_, "seconds": None, "rate": None, "channels": None, "bits": None, "title": None,
            "artist": None}  # fmt: skip


def _wav(data: bytes) -> Audio:
    info, at, bytes_per_second = _audio("wav"), 12, 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if kind == b"fmt ":
            _, info["channels"], info["rate"], bytes_per_second, _, info["bits"] = struct.unpack_from(
                "<HHIIHH", data, at + 8
            )
        elif kind == b"data" and bytes_per_second:
            info["seconds"] = min(size, len(data) - at - 8) / bytes_per_second
        at += 8 + size + size % 2
    return info


def _flac(data: bytes) -> Audio:
    info, at, last = _audio("flac"), 4, False
    while not last and at + 4 <= len(data):
        last, kind = bool(data[at] & 0x80), data[at] & 0x7F
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        block = data[at + 4 : at + 4 + size]
        if kind == 0 and len(block) >= 18:
            packed = int.from_bytes(block[10:18], "big")
            info["rate"], info["channels"] = packed >> 44, (packed >> 41 & 7) + 1
            info["bits"] = (packed >> 36 & 31) + 1
            samples = packed & (1 << 36) - 1
            info["seconds"] = samples / info["rate"] if info["rate"] and samples else None
        elif kind == 4:
            _comments(block, info)
        at += 4 + size
    return info


def _comments(block: bytes, info: Audio) -> None:
    """Vorbis comments: lengths and texts, little endian."""
    at = 4 + struct.unpack_from("<I", block)[0]
    count = struct.unpack_from("<I", block, at)[0]
    at += 4
    for _ in range(min(count, 1000)):
        if at + 4 > len(block):
            return
        size = struct.unpack_from("<I", block, at)[0]
        name, _, text = block[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        if name.lower() == "title":
            info["title"] = text
        elif name.lower() == "artist":
            info["artist"] = text
        at += 4 + size


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _mp3(data: bytes) -> Audio:
    info, at = _audio("mp3"), 0
    if data[:3] == b"ID3":
        at = 10 + _seven_bits(data[6:10])
        _tags(data[10:at], data[3], info)
    while at + 4 <= len(data):
        head = int.from_bytes(data[at : at + 4], "big")
        version, layer, rate, place = head >> 19 & 3, head >> 17 & 3, head >> 10 & 3, head >> 12 & 15
        if head >> 21 == 0x7FF and version != 1 and layer == 1 and rate != 3 and 0 < place < 15:
            kbps = (_KBPS_1 if version == 3 else _KBPS_2)[place]
            info["rate"], info["channels"] = _RATES[version][rate], 1 if head >> 6 & 3 == 3 else 2
            info["seconds"] = (len(data) - at) * 8 / (1000 * kbps)  # as if the bit rate stayed the same
            return info
        at += 1
    return info


def _seven_bits(raw: bytes) -> int:
    size = 0
    for byte in raw:
        size = size << 7 | byte & 0x7F
    return size


def _tags(block: bytes, version: int, info: Audio) -> None:
    """ID3v2.3 and 2.4: frames of a name, a size, two flags and a text whose first byte says how it is encoded."""
    at = 0
    while version >= 3 and at + 10 <= len(block) and block[at : at + 4].strip(b"\0"):
        raw = block[at + 4 : at + 8]
        size = _seven_bits(raw) if version == 4 else int.from_bytes(raw, "big")
        name, value = block[at : at + 4], block[at + 10 : at + 10 + size]
        if name in (b"TIT2", b"TPE1") and value:
            encoding = ("latin-1", "utf-16", "utf-16-be", "utf-8")[min(value[0], 3)]
            text = value[1:].decode(encoding, "replace").rstrip("\0")
            if name == b"TIT2":
                info["title"] = text
            else:
                info["artist"] = text
        at += 10 + size
