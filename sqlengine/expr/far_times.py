"""Dates and timestamps that Python and Arrow's text forms do not know: infinities, years before Christ and beyond 9999.

An infinity is the number at the end of the type: 2^31 - 1 days, 2^63 - 1 units, and these with a minus sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

DAY = 86_400_000_000
_FIRST, _LAST = -719_162, 2_932_896  # the days 0001-01-01 and 9999-12-31
_WORDS = {"infinity": 1, "inf": 1, "+infinity": 1, "-infinity": -1, "-inf": -1}
_FAR_DATE = re.compile(r"\s*([+-]?\d{1,7})([-/. \\])(\d{1,2})\2(\d{1,2})(?: ?\(BC\))?", re.IGNORECASE)
UNITS = {"s": 86_400, "ms": 86_400_000, "us": DAY, "ns": DAY * 1000}


def days_of_civil(year: int, month: int, day: int) -> int | None:
    """Days since 1970 of a date of the proleptic Gregorian calendar (year 0 is 1 BC); None if there is no such day."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = (28 + leap) if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not (1 <= month <= 12 and 1 <= day <= last):
        return None
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def civil_of_days(days: int) -> tuple[int, int, int]:
    """Year, month and day of days since 1970."""
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    part = (5 * of_year + 2) // 153
    month = part + 3 if part < 10 else part - 9
    return years + era * 400 + (month <= 2), month, of_year - (153 * part + 2) // 5 + 1


def infinity_of(type_: pa.DataType) -> int:
    return 2**31 - 1 if pa.types.is_date(type_) else 2**63 - 1


def numbers_of(array: pa.Array) -> pa.Array:
    """The numbers by which dates or timestamps are held."""
    return array.view(pa.int32() if pa.types.is_date(array.type) else pa.int64())


def is_endless(type_: pa.DataType) -> bool:
    """Whether the type has infinities."""
    return bool(pa.types.is_date(type_) or pa.types.is_timestamp(type_))


def infinite(array: pa.Array) -> pa.Array | None:
    """Booleans: which values are infinite; None if none is."""
    numbers = numbers_of(array)
    ends = pc.min_max(numbers).as_py()
    end = infinity_of(array.type)
    if ends["min"] is None or (ends["max"] < end and ends["min"] > -end):
        return None
    return pc.fill_null(pc.greater_equal(pc.abs_checked(pc.max_element_wise(numbers, -end)), end), False)


def around_infinity(array: pa.Array, type_: pa.DataType, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Finite values converted to another date or timestamp type, infinities as the infinities there."""
    mask = infinite(array)
    if mask is None:
        return convert(array)
    numbers = numbers_of(array)
    finite = pc.if_else(mask, pa.scalar(None, numbers.type), numbers).view(array.type)
    end = infinity_of(type_)
    raw = pa.int32() if pa.types.is_date(type_) else pa.int64()
    ends = pc.if_else(pc.greater(numbers, 0), pa.scalar(end, raw), pa.scalar(-end, raw))
    return pc.if_else(mask, ends, numbers_of(convert(finite))).view(type_)


def day_of_text(text: str) -> tuple[int | None, str]:
    """The days since 1970 of the date at the start of a text, and what follows; None and the text if there is none."""
    found = _FAR_DATE.match(text)
    if found is None:
        return None, text
    year, month, day = int(found[1]), int(found[3]), int(found[4])
    if found[0].upper().endswith("(BC)"):
        year = 1 - year
    days = days_of_civil(year, month, day)
    if days is None or abs(days) >= 2**31 - 1:
        raise ValueError(text)
    return days, text[found.end() :]


def infinity_of_text(text: str) -> int:
    """1, -1 for the words of the infinities, else 0."""
    return _WORDS.get(text.strip().lower(), 0)


def date_text(days: int) -> str:
    if abs(days) >= 2**31 - 1:
        return "infinity" if days > 0 else "-infinity"
    year, month, day = civil_of_days(days)
    return f"{year:04d}-{month:02d}-{day:02d}" if year > 0 else f"{1 - year:04d}-{month:02d}-{day:02d} (BC)"


def far_places(array: pa.Array) -> pa.Array | None:
    """Booleans: which values are beyond what Python and Arrow write; None if none is."""
    numbers = numbers_of(array)
    per_day = 1 if pa.types.is_date(array.type) else UNITS[array.type.unit]
    low, high = _FIRST * per_day, (_LAST + 1) * per_day - 1
    if high >= 2**63:  # nanoseconds end within the years that are known; their infinities do too
        return infinite(array)
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is None or (ends["min"] >= low and ends["max"] <= high):
        return None
    return pc.fill_null(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)), False)


def stamp_text(number: int, unit: str) -> str:
    """A timestamp in the unit as text."""
    if abs(number) >= 2**63 - 1:
        return "infinity" if number > 0 else "-infinity"
    days, rest = divmod(number, UNITS[unit])
    per_second = UNITS[unit] // 86_400
    seconds, fraction = divmod(rest, per_second)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if fraction:
        clock += "." + str(fraction).zfill(len(str(per_second)) - 1).rstrip("0")
    return f"{date_text(days)} {clock}"


def with_far_texts(array: pa.Array, write: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Texts of dates or timestamps: `write` gives those of the values that Arrow can write."""
    far = far_places(array)
    if far is None:
        return write(array)
    numbers = numbers_of(array)
    near = pc.if_else(far, pa.scalar(None, numbers.type), numbers).view(array.type)
    is_date = pa.types.is_date(array.type)
    texts = [date_text(n) if is_date else stamp_text(n, array.type.unit) for n in numbers.filter(far).to_pylist()]
    if not is_date and array.type.tz:
        texts = [text if text.endswith("infinity") else text + "+00" for text in texts]
    return pc.replace_with_mask(write(near), far, pa.array(texts, pa.string()))
