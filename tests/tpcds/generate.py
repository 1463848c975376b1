"""Small tables of the schema of TPC-DS with NULLs and skew, on which most of its queries have rows.

    python -m tests.tpcds.generate FOLDER       writes them as Parquet files

The queries ask for particular values together (a state, an education, a pair of category and class). So the constants
that each conjunction of the queries compares the columns of one table with are read from the queries: most rows of a
dimension take a random such set for their values. Keys of the fact tables are skewed, returns are returns of sales, and
sales of the catalog and the web are often made by the buyer of something in a store.
"""

from __future__ import annotations

import datetime
import random
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from tests.tpcds.queries import QUERIES

Row = dict[str, Any]

_SIZES = {
    "call_center": 6, "catalog_page": 30, "customer": 160, "customer_address": 120, "customer_demographics": 120,
    "household_demographics": 60, "income_band": 20, "item": 150, "promotion": 12, "reason": 36, "ship_mode": 10,
    "store": 12, "time_dim": 300, "warehouse": 5, "web_page": 12, "web_site": 6, "inventory": 2500,
    "store_sales": 2600, "catalog_sales": 1500, "web_sales": 1100,
}  # fmt: skip
_FIRST_DAY, _LAST_DAY = datetime.date(1998, 1, 1), datetime.date(2003, 2, 28)
_FIRST_KEY = 2450815  # of the first day, a Julian day as everywhere in TPC-DS
# The end of a key column's name, and the table whose rows it numbers.
_KEYS = {
    "date_sk": "date_dim", "time_sk": "time_dim", "item_sk": "item", "customer_sk": "customer",
    "cdemo_sk": "customer_demographics", "hdemo_sk": "household_demographics", "addr_sk": "customer_address",
    "store_sk": "store", "promo_sk": "promotion", "call_center_sk": "call_center",
    "catalog_page_sk": "catalog_page", "ship_mode_sk": "ship_mode", "warehouse_sk": "warehouse",
    "reason_sk": "reason", "web_page_sk": "web_page", "web_site_sk": "web_site", "income_band_sk": "income_band",
}  # fmt: skip
_RETURNS = {"store_returns": "store_sales", "catalog_returns": "catalog_sales", "web_returns": "web_sales"}


@cache
def schema() -> dict[str, dict[str, str]]:
    """Each table with its columns and their types as `schema.txt` writes them."""
    tables: dict[str, dict[str, str]] = {}
    name = ""
    for line in (Path(__file__).parent / "schema.txt").read_text().splitlines():
        if line.startswith("  "):
            tables[name].update(item.split(":") for item in line.split())  # type: ignore[arg-type]
        elif line and not line.startswith("#"):
            name = line
            tables[name] = {}
    return tables


def _arrow(kind: str) -> pa.DataType:
    kind = kind.rstrip("!")
    if kind[0] == "n":
        return pa.decimal128(int(kind[1:]), 2)
    return {"i": pa.int32(), "t": pa.string(), "d": pa.date32()}[kind]


def make_tables(seed: int = 5) -> dict[str, pa.Table]:
    rng = random.Random(seed)
    rows = _Generator(rng).tables()
    return {
        name: pa.table(
            {c: pa.array([row[c] for row in rows[name]], _arrow(kind)) for c, kind in columns.items()}
        )
        for name, columns in schema().items()
    }  # fmt: skip


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.wishes = _wishes()
        self.made: dict[str, list[Row]] = {}
        self.days: list[list[int]] = []  # keys of all days, then of those that a conjunction of some query asks for

    def tables(self) -> dict[str, list[Row]]:
        self.made["date_dim"] = list(_days())
        self.made["time_dim"] = self._times()
        self.days = [[row["d_date_sk"] for row in self.made["date_dim"]]]
        for wish in self.wishes["date_dim"]:
            days = [r["d_date_sk"] for r in self.made["date_dim"] if all(r[c] in wish[c] for c in wish)]
            if days:
                self.days.append(days)
        for name in _SIZES:
            if name not in self.made and not name.endswith("_sales"):
                self.made[name] = [self._row(name, number) for number in range(1, _SIZES[name] + 1)]
        for name in ("store_sales", "catalog_sales", "web_sales"):
            self.made[name] = self._sales(name)
        for name, sales in _RETURNS.items():
            self.made[name] = self._returns(name, self.made[sales])
        return self.made

    def _key(self, table: str, skewed: bool = True) -> int:
        """The key of a row of a table, the first rows more often than the others."""
        if table == "date_dim":
            days = self.rng.choice(self.days) if self.rng.random() < 0.8 else self.days[0]
            return int(self.rng.choice(days))
        if table == "time_dim":
            return int(self.rng.choice(self.made[table])["t_time_sk"])
        size = _SIZES[table]
        return 1 + int(size * self.rng.random() ** (2 if skewed else 1))

    def _row(self, table: str, number: int) -> Row:
        """Any row: keys lead somewhere, the other columns have values that some query asks for."""
        wishes = self.wishes.get(table, [])
        wish = wishes[number % len(wishes)] if wishes and self.rng.random() < 0.85 else {}
        row: Row = {}
        for column, kind in schema()[table].items():
            if column in wish:
                row[column] = self.rng.choice(wish[column])
                if kind == "i" and isinstance(row[column], Decimal):
                    row[column] = int(row[column])
            else:
                row[column] = self._value(table, column, kind, number)
            if kind == "t" and row[column] is not None:
                row[column] = str(row[column])
            if not kind.endswith("!") and self.rng.random() < 0.04:
                row[column] = None
        return row

    def _value(self, table: str, column: str, kind: str, number: int) -> Any:
        rng = self.rng
        first = next(iter(schema()[table]))
        if column == first and table not in ("inventory", *_RETURNS, *_RETURNS.values()):
            return number
        target = next((t for end, t in _KEYS.items() if column.endswith("_" + end)), None)
        if target is not None and kind[0] == "i":
            return self._key(target)
        match kind[0]:
            case "i":
                if column.endswith("birth_year"):
                    return rng.randrange(1930, 1990)
                if column == "ib_lower_bound":
                    return (number - 1) * 10000
                if column == "ib_upper_bound":
                    return number * 10000
                if column.endswith(("birth_month", "birth_day", "count")):
                    return rng.randrange(0, 12)
                if column.endswith(("manufact_id", "manager_id", "floor_space", "employees", "sq_ft")):
                    return rng.randrange(1, 300)
                return rng.randrange(1, 20) if column != "inv_quantity_on_hand" else rng.randrange(0, 1000)
            case "n":
                if column.endswith("gmt_offset"):
                    return Decimal(rng.choice([-5, -5, -6, -7, -8]))
                return Decimal(rng.randrange(0, 20000)) / 100
            case "d":
                start = datetime.date(1997, 3, 13) + datetime.timedelta(rng.randrange(1500))
                return start if "start" in column or rng.random() < 0.4 else None
        if column.endswith("_id"):
            # Versions of one thing have one id and several keys.
            return f"AAAAAAAA{number - number % 2 if rng.random() < 0.3 else number:08d}"
        if column.endswith(("_flag", "_active", "channel_dmail", "channel_email", "channel_tv", "channel_event")):
            return rng.choice("YN")
        known = [v for wish in self.wishes.get(table, []) for v in wish.get(column, ()) if isinstance(v, str)]
        if column.endswith(("_city", "_county", "_state", "_zip", "_country", "street_name")) and rng.random() < 0.8:
            # Places of all tables are drawn from the same few, so that people live where stores are.
            end = column.split("_", 1)[1]
            known = [
                v for wishes in self.wishes.values() for wish in wishes for c, values in wish.items()
                if c.endswith("_" + end) for v in values if isinstance(v, str)
            ][:12]  # fmt: skip
        if known and rng.random() < 0.9:
            return rng.choice(known)
        return f"{column.split('_', 1)[1]} {'' if rng.random() < 0.1 else 'é'}{int(12 * rng.random() ** 2)}"

    def _times(self) -> list[Row]:
        rows = []
        for number in sorted(self.rng.sample(range(86400), _SIZES["time_dim"])):
            hour = number // 3600
            meal = {7: "breakfast", 8: "breakfast", 12: "lunch", 18: "dinner", 19: "dinner"}.get(hour)
            rows.append(
                {
                    "t_time_sk": number, "t_time_id": f"T{number:015d}", "t_time": number, "t_hour": hour,
                    "t_minute": number // 60 % 60, "t_second": number % 60, "t_am_pm": "AM" if hour < 12 else "PM",
                    "t_shift": ("third", "first", "second")[hour // 8], "t_sub_shift": "night", "t_meal_time": meal,
                }
            )  # fmt: skip
        return rows

    def _sales(self, table: str) -> list[Row]:
        """Orders of a few lines each; what the catalog and the web sell was often bought in a store by the same."""
        rows: list[Row] = []
        stores = self.made.get("store_sales", [])
        prefix, order = {
            "store_sales": ("ss", "ss_ticket_number"), "catalog_sales": ("cs", "cs_order_number"),
            "web_sales": ("ws", "ws_order_number"),
        }[table]  # fmt: skip
        number = 0
        while len(rows) < _SIZES[table]:
            number += 1
            head = self._row(table, number)
            items: set[int] = set()
            for _ in range(self.rng.choice([1, 1, 2, 3, 9])):
                row = self._row(table, number)
                for column in row:
                    if not column.endswith(("item_sk", "warehouse_sk", "promo_sk")) and column.endswith("_sk"):
                        row[column] = head[column]
                if stores and self.rng.random() < 0.7:
                    other = self.rng.choice(stores)
                    day = other["ss_sold_date_sk"]
                    row[f"{prefix}_item_sk"], row[f"{prefix}_bill_customer_sk"] = (
                        other["ss_item_sk"],
                        other["ss_customer_sk"],
                    )
                    if day is not None:
                        day += int(60 * self.rng.random() ** 2)
                        row[f"{prefix}_sold_date_sk"] = min(day, _FIRST_KEY + len(self.made["date_dim"]) - 1)
                sold = row[f"{prefix}_sold_date_sk"]
                if f"{prefix}_ship_date_sk" in row and sold is not None:
                    row[f"{prefix}_ship_date_sk"] = sold + self.rng.randrange(130)
                if row[f"{prefix}_item_sk"] in items:
                    continue
                items.add(row[f"{prefix}_item_sk"])
                row[order] = number
                row[f"{prefix}_quantity"] = self.rng.choice([None, 1, 2, 20, 45, 65, 90, self.rng.randrange(1, 101)])
                row[f"{prefix}_net_profit"] = Decimal(self.rng.randrange(-100000, 300000)) / 100
                rows.append(row)
        return rows

    def _returns(self, table: str, sales: list[Row]) -> list[Row]:
        short = {"store_returns": "ss", "catalog_returns": "cs", "web_returns": "ws"}[table]
        rows = []
        for sale in sales:
            if self.rng.random() > 0.25:
                continue
            row = self._row(table, 0)
            back = row_prefix = next(iter(row)).split("_")[0]
            row[f"{back}_item_sk"] = sale[f"{short}_item_sk"]
            order = "ticket_number" if short == "ss" else "order_number"
            row[f"{row_prefix}_{order}"] = sale[f"{short}_{order}"]
            buyer = sale[f"{short}_{'customer_sk' if short == 'ss' else 'bill_customer_sk'}"]
            for column in row:
                if column.endswith("customer_sk") and self.rng.random() < 0.8:
                    row[column] = buyer
            sold = sale[f"{short}_sold_date_sk"]
            if sold is not None and row[f"{back}_returned_date_sk"] is not None:
                last = _FIRST_KEY + len(self.made["date_dim"]) - 1
                row[f"{back}_returned_date_sk"] = min(sold + self.rng.randrange(1, 120), last)
            row[f"{back}_return_quantity"] = self.rng.choice([None, 1, 2, 5, 30])
            rows.append(row)
        return rows


def _days() -> Iterator[Row]:
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    for number in range((_LAST_DAY - _FIRST_DAY).days + 1):
        day = _FIRST_DAY + datetime.timedelta(number)
        quarter = (day.month - 1) // 3
        week = (number + 3) // 7 + 5110
        months = (day.year - 1900) * 12 + day.month - 1
        yield {
            "d_date_sk": _FIRST_KEY + number, "d_date_id": f"D{number:015d}", "d_date": day, "d_month_seq": months,
            "d_week_seq": week, "d_quarter_seq": (day.year - 1900) * 4 + quarter, "d_year": day.year,
            "d_dow": (day.weekday() + 1) % 7, "d_moy": day.month, "d_dom": day.day, "d_qoy": quarter + 1,
            "d_fy_year": day.year, "d_fy_quarter_seq": (day.year - 1900) * 4 + quarter, "d_fy_week_seq": week,
            "d_day_name": names[day.weekday()], "d_quarter_name": f"{day.year}Q{quarter + 1}",
            "d_holiday": "NY"[day.day == 25], "d_weekend": "NY"[day.weekday() > 4], "d_following_holiday": "N",
            "d_first_dom": _FIRST_KEY + number - day.day + 1, "d_last_dom": _FIRST_KEY + number - day.day + 28,
            "d_same_day_ly": _FIRST_KEY + number - 365, "d_same_day_lq": _FIRST_KEY + number - 91,
            "d_current_day": "N", "d_current_week": "N", "d_current_month": "N", "d_current_quarter": "N",
            "d_current_year": "N",
        }  # fmt: skip


def _wishes() -> dict[str, list[dict[str, list[Any]]]]:
    """For each table the sets of values that a conjunction of some query compares its columns with."""
    owner = {column: table for table, columns in schema().items() for column in columns}
    found: dict[str, list[dict[str, list[Any]]]] = {}
    for text in QUERIES.values():
        tree = sqlglot.parse_one(text, dialect="duckdb")
        for top in [*tree.find_all(exp.Where), *tree.find_all(exp.Or)]:
            sides = [top.this] if isinstance(top, exp.Where) else [top.this, top.expression]
            for side in sides:
                together: dict[str, dict[str, list[Any]]] = {}
                for part in _parts(side):
                    column, values = _compared(part)
                    if column in owner and values:
                        together.setdefault(owner[column], {})[column] = values
                for table, wish in together.items():
                    found.setdefault(table, []).append(wish)
    return found


def _parts(node: exp.Expression) -> Iterator[exp.Expression]:
    if isinstance(node, exp.And):
        yield from _parts(node.this)
        yield from _parts(node.expression)
    elif isinstance(node, exp.Paren):
        yield from _parts(node.this)
    else:
        yield node


def _compared(node: exp.Expression) -> tuple[str, list[Any]]:
    """A column and the constants that a predicate compares it with."""
    column = node.find(exp.Column)
    if column is None or not isinstance(node.this, exp.Column):
        return "", []
    match node:
        case exp.EQ():
            return column.name, _constants([node.expression])
        case exp.In():
            return column.name, _constants(node.expressions)
        case exp.Between():
            low, high = (_constants([node.args[key]]) for key in ("low", "high"))
            if low and high and isinstance(low[0], Decimal):
                return column.name, [*low, (low[0] + high[0]) // 2, *high]
    return "", []


def _constants(nodes: list[exp.Expression]) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        sign = -1 if isinstance(node, exp.Neg) else 1
        plain = node.this if isinstance(node, exp.Neg) else node
        if isinstance(plain, exp.Literal):
            found.append(str(plain.this) if plain.is_string else sign * Decimal(str(plain.this)))
    return found


def write_tables(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in make_tables().items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=700)


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
