"""Random queries over types and nested values: casts, structs, lists, maps, PIVOT, grouping sets, set operations of
queries with subqueries three levels deep. Rows may come in any order; every value has one right answer."""

from __future__ import annotations

import random

_INTS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "hugeint")
# A table with its columns of whole numbers, texts and dates.
_TABLES = {"a": (("k", "g", "n"), "s", "t"), "c": (("k", "n"), "s", None), "w": (("k", "g"), None, "t")}


def random_nested_query(seed: int) -> str:
    return _Nested(random.Random(seed)).query()


class _Nested:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names = 0

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def alias(self) -> str:
        self.names += 1
        return f"q{self.names}"

    def query(self) -> str:
        forms = [self.values, self.values, self.deep, self.deep, self.sets, self.groups, self.pivot, self.unpivot]
        return self.rng.choice(forms)()

    def whole(self, alias: str, columns: tuple[str, ...]) -> str:
        """A whole number that fits every type."""
        name = f"{alias}.{self.rng.choice(columns)}"
        return self.pick(name, f"abs({name}) % 90", f"({name} + 1)", f"coalesce({name}, 7)", f"-({name} % 5)")

    def value(self, alias: str, table: str) -> str:
        numbers, text, date = _TABLES[table]
        n, m = self.whole(alias, numbers), self.whole(alias, numbers)
        forms = [
            f"cast({n} as {self.pick(*_INTS[1:4])})", f"try_cast({n} as {self.pick('tinyint', 'utinyint')})",
            f"cast({n} as varchar)", f"cast({n} as decimal(12, 2))", f"{{'x': {n}, 'y': {m}}}",
            f"{{'x': {n}, 'y': {{'z': [{m}]}}}}.y.z[1]", f"[{n}, {m}, null][{self.pick('1', '2', '-1', '5')}]",
            f"list_sort([{n}, {m}, 3])", f"len([{n}, {m}])", f"list_contains([{n}, 1, null], {m})",
            f"[{n}, {m}][1:1]",
            f"cast(map([coalesce({n}, 0) % 3, 10], [{m}, 0]) as varchar)", f"map([10, 11], [{n}, {m}])[10]",
            f"list_transform([{n}, {m}], lambda x: x + 1)",
            f"list_filter([{n}, {m}, 2], lambda x: x > 2)", f"cast([{n}, {m}] as varchar)",
            f"[[{n}], [], null, [{m}]]",
            f"cast({{'x': {n}}} as varchar)",
            f"list_aggregate([{n}, {m}], '{self.pick('sum', 'min', 'max', 'count')}')",
            f"({n}, {m}) {self.pick('=', '<', '>=', '<>')} ({m}, 3)", f"{n} = any([{m}, 1])",
            f"cast({n} % 2 as boolean)",
            f"case when {n} > {m} then [{n}] end", f"struct_pack(a := {n}, b := [{m}])",
            f"cast({n} as hugeint) * 1000000007",
        ]  # fmt: skip
        if text is not None:
            t = f"{alias}.{text}"
            forms += [f"[{t}, 'a']", f"{{'t': {t}, 'n': {n}}}", f"split({t}, 'a')",
                      f"map([coalesce({t}, '')], [{n}])::varchar",
                      f"list_distinct([{t}, {t}])[1]", f"try_cast({t} as integer)",
                      f"array_to_string([{t}, 'b'], '-')"]  # fmt: skip
        if date is not None:
            d = f"{alias}.{date}"
            forms += [f"[{d}, {d} + 1]", f"cast({d} as timestamp)", f"{{'d': {d}}}", f"date_part('month', {d})",
                      f"date_diff('day', {d}, date '2024-03-01')", f"cast({d} as varchar)",
                      f"{d} - interval 1 month"]  # fmt: skip
        return self.rng.choice(forms)

    def values(self) -> str:
        table = self.pick(*_TABLES)
        alias = self.alias()
        items = ", ".join(f"{self.value(alias, table)} as c{n}" for n in range(self.rng.randrange(1, 4)))
        distinct = self.pick("", "", "distinct ")
        return f"select {distinct}{items} from {table} {alias} where {self.condition(alias, table, 1)}"

    def condition(self, alias: str, table: str, depth: int) -> str:
        """A predicate; below it subqueries of subqueries, each of which may read any level above."""
        return self._condition([(alias, table)], depth)

    def _condition(self, outer: list[tuple[str, str]], depth: int) -> str:
        alias, table = self.rng.choice(outer)
        n = self.whole(alias, _TABLES[table][0])
        if depth == 0:
            tests = ("> 3", "is not null", "between 1 and 20", "in (1, 2, 3, null)")
            return self.pick(f"not {n} = 5", *(f"{n} {test}" for test in tests))
        other, inner = self.pick(*_TABLES), self.alias()
        m = f"{inner}.{self.rng.choice(_TABLES[other][0])}"
        where = f"{m} {self.pick('=', '=', '<', '>=')} {n} and {self._condition([*outer, (inner, other)], depth - 1)}"
        return self.pick(
            f"exists (select 1 from {other} {inner} where {where})",
            f"not exists (select 1 from {other} {inner} where {where})",
            f"{n} {self.pick('', 'not ')}in (select {m} from {other} {inner} where {where})",
            f"{n} {self.pick('=', '<', '>')} "
            f"(select {self.pick('min', 'max', 'count')}({m}) from {other} {inner} where {where})",
            f"{n} {self.pick('<', '>=')} {self.pick('any', 'all')} (select {m} from {other} {inner} where {where})",
            f"({self._condition(outer, 0)} or {self._condition(outer, depth - 1)})",
        )  # fmt: skip

    def deep(self) -> str:
        table = self.pick("c", "w")
        alias = self.alias()
        n = self.whole(alias, _TABLES[table][0])
        return f"select {n} as c0 from {table} {alias} where {self.condition(alias, table, self.rng.randrange(2, 4))}"

    def sets(self) -> str:
        def side(depth: int) -> str:
            if depth and self.rng.random() < 0.6:
                op = self.pick("union", "union all", "intersect", "except", "intersect all", "except all")
                return f"({side(depth - 1)} {op} {side(depth - 1)})"
            table, alias = self.pick(*_TABLES), self.alias()
            numbers = _TABLES[table][0]
            return f"(select {self.whole(alias, numbers)}, [{alias}.{numbers[0]}] from {table} {alias})"

        return f"select * from ({side(3)}) {self.alias()}"

    def groups(self) -> str:
        table, alias = self.pick("a", "w"), self.alias()
        sets = self.pick("rollup (g, k % 3)", "cube (g, k % 3)", "grouping sets ((g), (k % 3), (g, k % 3), ())",
                         "g, rollup (k % 3)", "grouping sets (rollup (g), cube (k % 3))")  # fmt: skip
        call = self.pick("count(*)", "sum(k)", "max({'k': k})", "list_sort(list(k))", "count(distinct [k])",
                         "min([k, g])",
                         "histogram(k % 3)::varchar", "mode(1)", "bool_and(k > 3)", "max(t)")  # fmt: skip
        having = self.pick("", "", " having count(*) > 2")
        return (
            f"select g, k % 3 as m, grouping(g, k % 3) as i, {call} as c from {table} {alias} group by {sets}{having}"
        )

    def pivot(self) -> str:
        call = self.pick("sum(k)", "count(*)", "max(k) as m", "list_sort(list(k))", "min(k), count(k)")
        values = self.pick("", " in (1, 2, 77)")
        rows, on = self.pick("a", "w"), self.pick("p", "g % 3")
        return f"select * from (pivot (select g, k, k % 4 as p from {rows}) on {on}{values} using {call})"

    def unpivot(self) -> str:
        nulls = self.pick("", " include nulls")
        rows = f"(select k, g::bigint as g, k::bigint + 1 as h from {self.pick('a', 'w')})"
        return f"select * from {rows} unpivot{nulls} (v for n in (g, h))"
