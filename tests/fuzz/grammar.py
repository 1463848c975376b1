"""Random queries from a seed. Every query has one right answer as a set of rows, or as a list when `ordered`."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.fuzz.tables import COLUMNS, TYPES

Column = tuple[str, str]  # its text in the query, its kind (int, big, dec, flt, txt, date, bool)
_NUMBERS = ("int", "dec", "flt")
_ORDERED = ("int", "big", "dec", "txt", "date")
_JOINS = ("join", "join", "left join", "left join", "right join", "full join", "semi join", "anti join", "cross join")


@dataclass(frozen=True)
class Query:
    text: str
    ordered: bool


def random_query(seed: int) -> Query:
    return _Writer(random.Random(seed)).query()


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names = 0

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def query(self) -> Query:
        text, kinds = self.clause() if self.chance(0.35) else self.select(2)
        if self.chance(0.2):
            text, kinds = self.set_operation(text, kinds)
        if not self.chance(0.3):
            return Query(text, False)
        numbers = list(range(1, len(kinds) + 1))
        self.rng.shuffle(numbers)
        ways = [
            f"{n}{self.rng.choice([' desc', '', ' asc'])}{self.rng.choice(['', ' nulls first', ' nulls last'])}"
            for n in numbers
        ]
        # Floats are rounded first: sums in another order differ in the last digits, and so would the order.
        # What is added keeps them away from halves.
        items = [f"round(c{i} + 3e-7, 5)" if kind == "flt" else f"c{i}" for i, kind in enumerate(kinds)]
        text = f"select {', '.join(items)} from ({text}) order by {', '.join(ways)}"
        if self.chance(0.6):
            text += f" limit {self.rng.choice([0, 1, 5, 17, 1000])}"
            text += f" offset {self.rng.choice([1, 3, 50])}" if self.chance(0.3) else ""
        return Query(text, True)

    def set_operation(self, text: str, kinds: list[str]) -> tuple[str, list[str]]:
        scope = [(name, TYPES[name][0]) for name in COLUMNS["a"]]
        other = ", ".join(self.expression(scope, kind, 1) for kind in kinds)
        op = self.rng.choice(["union", "union all", "intersect", "except", "intersect all", "except all"])
        return f"({text}) {op} (select {other} from a)", kinds

    # ---- from

    def alias(self) -> str:
        self.names += 1
        return f"t{self.names}"

    def source(self, depth: int) -> tuple[str, list[Column]]:
        alias = self.alias()
        if depth > 0 and self.chance(0.2):
            text, kinds = self.clause() if self.chance(0.2) else self.select(depth - 1)
            return f"({text}) {alias}", [(f"{alias}.c{i}", kind) for i, kind in enumerate(kinds)]
        table = self.rng.choice(["a", "a", "a", "c", "c", "w", "w", "e"])
        return f"{table} {alias}", [(f"{alias}.{name}", TYPES[name][0]) for name in COLUMNS[table]]

    def sources(self, depth: int) -> tuple[str, list[Column]]:
        text, scope = self.source(depth)
        for _ in range(self.rng.choice([0, 0, 1, 1, 1, 2])):
            other, columns = self.source(depth)
            kind = self.rng.choice(_JOINS)
            if kind == "cross join":
                # A product only with few rows on one side.
                alias = self.alias()
                other, columns = (
                    f"(select k, s from c where k < 4) {alias}",
                    [(f"{alias}.k", "int"), (f"{alias}.s", "txt")],
                )
                text, scope = f"{text} cross join {other}", scope + columns
                continue
            text = f"{text} {kind} {other} on {self.join_condition(scope, columns)}"
            if kind not in ("semi join", "anti join"):
                scope = scope + columns
        return text, scope

    def join_condition(self, left: list[Column], right: list[Column]) -> str:
        pairs = [(a, b) for a, ka in left for b, kb in right if ka == kb and ka != "bool"]
        # Keys of few values would multiply the rows at every join.
        good = [(a, b) for a, b in pairs if a.endswith(".k") and b.endswith(".k")] or pairs
        if not good:
            return "false"
        parts = [" = ".join(self.rng.choice(good))]
        if self.chance(0.25):
            parts.append(" = ".join(self.rng.choice(pairs)))
        if self.chance(0.25):
            a, b = self.rng.choice(pairs)
            parts.append(f"{a} {self.rng.choice(['<', '<=', '<>', '>'])} {b}")
        if self.chance(0.2):
            parts.append(self.predicate(self.rng.choice([left, right]), 0))
        return " and ".join(parts)

    # ---- select

    def select(self, depth: int) -> tuple[str, list[str]]:
        """A query whose columns are named c0, c1, ... and their kinds."""
        text, scope = self.sources(depth)
        where = f" where {self.predicate(scope, depth)}" if self.chance(0.5) else ""
        style = self.rng.random()
        if style < 0.4:
            return self.grouped(text, scope, where)
        kinds = [self.kind(scope) for _ in range(self.rng.randrange(1, 4))]
        items = [self.expression(scope, kind, 2) for kind in kinds]
        if depth > 0 and self.chance(0.15):
            items[0], kinds[0] = self.scalar_subquery(scope)
        distinct = "distinct " if self.chance(0.2) else ""
        return f"select {distinct}{_named(items)} from {text}{where}", kinds

    # ---- clauses of their own: windows, DISTINCT ON, CTEs, lists, laterals, unions by name

    def clause(self) -> tuple[str, list[str]]:
        forms = [self.window, self.window, self.distinct_on, self.shared, self.recursive, self.unnest, self.lateral]
        return self.rng.choice([*forms, self.union_by_name, self.ordered_aggregates, self.limited])()

    def total_order(self, scope: list[Column]) -> str:
        """An order that leaves no two different rows beside each other undecided."""
        names = [name for name, _ in scope]
        self.rng.shuffle(names)
        ways = [
            f"{name}{self.rng.choice(['', ' desc'])}{self.rng.choice(['', ' nulls first', ' nulls last'])}"
            for name in names
        ]
        return ", ".join(ways)

    def few(self) -> tuple[str, list[Column]]:
        """One table, or a small derived one."""
        text, scope = self.source(0)
        if self.chance(0.5):
            text += f" where {self.predicate(scope, 0)}"
        return text, scope

    def window(self) -> tuple[str, list[str]]:
        text, scope = self.few()
        items, kinds = [], []
        for _ in range(self.rng.randrange(1, 4)):
            call, kind = self.window_call(scope)
            items.append(call)
            kinds.append(kind)
        kind = self.kind(scope)
        items.append(self.expression(scope, kind, 1))
        kinds.append(kind)
        if self.chance(0.15):
            call, _ = self.ranking(scope)
            text += f" qualify {call} <= {self.rng.choice([1, 2, 10])}"
        return f"select {_named(items)} from {text}", kinds

    def partition(self, scope: list[Column]) -> str:
        if self.chance(0.35):
            return ""
        return f"partition by {self.expression(scope, self.kind(scope), 1)} "

    def ranking(self, scope: list[Column]) -> tuple[str, str]:
        call = self.rng.choice(["rank()", "dense_rank()", "row_number()", "percent_rank()", "cume_dist()", "ntile(3)"])
        kind = "flt" if call[0] in "pc" else "int"
        return f"{call} over ({self.partition(scope)}order by {self.total_order(scope)})", kind

    def window_call(self, scope: list[Column]) -> tuple[str, str]:
        roll = self.rng.random()
        if roll < 0.2:
            return self.ranking(scope)
        kind = self.rng.choice([kind for kind in self.kinds(scope) if kind in _ORDERED])
        arg = self.expression(scope, kind, 1)
        if roll < 0.5:
            call = self.rng.choice([f"lag({arg})", f"lead({arg}, 2)", f"lag({arg}, 1, {arg})"])
            if self.chance(0.5):
                call = self.rng.choice([f"first_value({arg})", f"last_value({arg})", f"nth_value({arg}, 2)"])
                ignore = self.rng.choice(["", "", " ignore nulls"])
                call = call[:-1] + ignore + ")"
                return f"{call} over ({self.partition(scope)}order by {self.total_order(scope)}{self.frame()})", kind
            return f"{call} over ({self.partition(scope)}order by {self.total_order(scope)})", kind
        call, result = self.rng.choice([("min", kind), ("max", kind), ("count", "int")])
        if kind in ("int", "dec") and self.chance(0.5):
            call, result = "sum", "sum"
        distinct = "distinct " if self.chance(0.1) else ""
        call = f"{call}({distinct}{arg})"
        if self.chance(0.15):
            call += f" filter (where {self.predicate(scope, 0)})"
        order = ""
        if self.chance(0.7):
            if self.chance(0.3):
                key = self.rng.choice([name for name, its in scope if its == "int"])
                order = f"order by {key}{self.rng.choice(['', ' desc'])}{self.range_frame()}"
            else:
                order = f"order by {self.total_order(scope)}{self.frame()}"
        return f"{call} over ({self.partition(scope)}{order})", result

    def frame(self) -> str:
        ends = [
            "rows between 2 preceding and current row", "rows between 1 preceding and 1 following",
            "rows between unbounded preceding and 1 preceding", "rows between 1 following and 3 following",
            "rows between current row and unbounded following", "rows unbounded preceding",
            "range between unbounded preceding and unbounded following", "groups between 1 preceding and 1 following",
        ]  # fmt: skip
        exclude = self.rng.choice(["", "", "", " exclude current row", " exclude group", " exclude ties"])
        return f" {self.rng.choice(ends)}{exclude}" if self.chance(0.7) else ""

    def range_frame(self) -> str:
        ends = ["range between 2 preceding and 2 following", "range between 3 preceding and current row",
                "range between 1 following and 4 following"]  # fmt: skip
        return f" {self.rng.choice(ends)}" if self.chance(0.7) else ""

    def distinct_on(self) -> tuple[str, list[str]]:
        text, scope = self.few()
        kind = self.kind(scope)
        key = self.rng.choice([name for name, its in scope if its == kind])
        kinds = [kind, *(self.kind(scope) for _ in range(2))]
        items = [key, *(self.expression(scope, kind, 1) for kind in kinds[1:])]
        return (
            f"select distinct on ({key}) {_named(items)} from {text} order by {key}, {self.total_order(scope)}",
            kinds,
        )

    def limited(self) -> tuple[str, list[str]]:
        text, scope = self.few()
        kinds = [self.kind(scope) for _ in range(2)]
        items = [self.expression(scope, kind, 1) for kind in kinds]
        end = f" limit {self.rng.choice([0, 1, 7, 100])}" + (
            f" offset {self.rng.choice([1, 6])}" if self.chance(0.4) else ""
        )
        return f"select {_named(items)} from {text} order by {self.total_order(scope)}{end}", kinds

    def shared(self) -> tuple[str, list[str]]:
        """A CTE that is read twice."""
        text, kinds = self.select(0)
        name, one, two = self.alias(), self.alias(), self.alias()
        at = self.rng.randrange(len(kinds))
        how = self.rng.choice(["", "", " materialized", " not materialized"])
        if self.chance(0.5):
            body = f"select c{at} as c0 from {name} union all select c{at} from {name}"
            return f"with {name} as{how} ({text}) {body}", [kinds[at]]
        body = (
            f"select count(*) as c0, count(distinct {two}.c{at}) as c1 from (select distinct c{at} from {name}) {one}"
        )
        join = self.rng.choice(["join", "left join", "full join"])
        body += f" {join} (select distinct * from {name}) {two} on {one}.c{at} = {two}.c{at}"
        return f"with {name} as{how} ({text}) {body}", ["int", "int"]

    def recursive(self) -> tuple[str, list[str]]:
        name, other = self.alias(), self.alias()
        table = self.rng.choice(["c", "w", "e"])
        union = self.rng.choice(["union", "union all"])
        if self.chance(0.5):
            steps = self.rng.choice([1, 3, 12])
            text = (
                f"with recursive {name}(c0, c1) as (select k, 1 from {table} {union} "
                f"select c0 % 7 + c1, c1 + 1 from {name} where c1 < {steps}) select c0, c1 from {name}"
            )
            return text, ["int", "int"]
        text = (
            f"with recursive {name} as (select k as c0 from {table} where k < 5 union "
            f"select {other}.n + 1 from {name} join c {other} on {other}.k = {name}.c0) select c0 from {name}"
        )
        return text, ["int"]

    def unnest(self) -> tuple[str, list[str]]:
        text, scope = self.few()
        kind = self.rng.choice([kind for kind in self.kinds(scope) if kind not in ("sum", "bool")])
        one, two = (self.expression(scope, kind, 1) for _ in range(2))
        other = self.kind(scope)
        keep = self.expression(scope, other, 1)
        if self.chance(0.4):
            name, where = self.alias(), f" where {self.predicate(scope, 0)}" if self.chance(0.4) else ""
            source = text.split(" where ")[0]
            return (
                f"select {keep} as c0, {name}.x as c1 from {source}, unnest([{one}, {two}, null]) {name}(x){where}",
                [other, kind],
            )
        return f"select {keep} as c0, unnest([{one}, {two}]) as c1 from {text}", [other, kind]

    def lateral(self) -> tuple[str, list[str]]:
        alias, name = self.alias(), self.alias()
        table = self.rng.choice(["c", "w", "e"])
        scope = [(f"{alias}.{column}", TYPES[column][0]) for column in COLUMNS[table]]
        inner, columns, where = self.inner(scope)
        kind = self.kind(columns)
        item = self.expression(columns, kind, 1)
        if self.chance(0.4):
            order = self.total_order(columns)
            body = f"select {item} as x from {inner}{where} order by {order} limit {self.rng.choice([1, 2])}"
        elif self.chance(0.5):
            item, kind = self.aggregate(columns)
            body = f"select {item} as x from {inner}{where}"
        else:
            body = f"select {item} as x from {inner}{where}"
        join = self.rng.choice(
            [", lateral ({}) {}", " left join lateral ({}) {} on true", " cross join lateral ({}) {}"]
        )
        keep = self.kind(scope)
        text = f"select {self.expression(scope, keep, 1)} as c0, {name}.x as c1 from {table} {alias}"
        return text + join.format(body, name), [keep, kind]

    def union_by_name(self) -> tuple[str, list[str]]:
        one, first = self.few()
        two, second = self.few()
        kinds = [self.kind(first) for _ in range(2)]
        mine = [self.expression(first, kind, 1) for kind in kinds]
        yours = [self.expression(second, kind, 0) for kind in reversed(kinds)]
        everything = self.rng.choice(["", " all"])
        return (
            f"select {_named(mine)} from {one} union{everything} by name "
            f"select {yours[0]} as c1, {yours[1]} as c0 from {two}",
            kinds,
        )

    def ordered_aggregates(self) -> tuple[str, list[str]]:
        text, scope = self.few()
        kind = self.rng.choice([kind for kind in self.kinds(scope) if kind in _ORDERED])
        arg, order = self.rng.choice([name for name, its in scope if its == kind]), self.total_order(scope)
        texts = [name for name, its in scope if its == "txt"]
        calls = [
            (f"first({arg} order by {order})", kind), (f"last({arg} order by {order})", kind),
            (f"array_agg({arg} order by {order})", "list"), (f"count(distinct {arg})", "int"),
            (f"min({arg})", kind), (f"list(distinct {arg} order by {arg})", "list"),
        ]  # fmt: skip
        if texts:
            calls.append((f"string_agg({self.rng.choice(texts)}, '|' order by {order})", "txt"))
        if kind in _NUMBERS:
            calls += [(f"sum(distinct {arg})", "sum"), (f"median({arg})", "flt"), (f"quantile_disc({arg}, 0.3)", kind)]
        chosen = self.rng.sample(calls, 2)
        if self.chance(0.3):
            call, its = chosen[0]
            chosen[0] = f"{call} filter (where {self.predicate(scope, 0)})", its
        key_kind = self.kind(scope)
        key = self.expression(scope, key_kind, 1)
        items, kinds = [key, *(call for call, _ in chosen)], [key_kind, *(its for _, its in chosen)]
        by = f" group by {key}"
        if not any(name in key for name, _ in scope):
            by, items, kinds = "", items[1:], kinds[1:]
        # Lists are shown as texts, which all other parts of the grammar can use.
        items = [
            f"array_to_string({item}, ',')" if its == "list" else item for item, its in zip(items, kinds, strict=True)
        ]
        return f"select {_named(items)} from {text}{by}", ["txt" if its == "list" else its for its in kinds]

    def grouped(self, text: str, scope: list[Column], where: str) -> tuple[str, list[str]]:
        keys = [self.expression(scope, kind, 1) for kind in (self.kind(scope) for _ in range(self.rng.randrange(3)))]
        keys = [key for key in dict.fromkeys(keys) if any(name in key for name, _ in scope)]
        key_kinds = [self.kind_of[key] for key in keys]
        calls = [self.aggregate(scope) for _ in range(self.rng.randrange(1, 4))]
        items, kinds = keys + [call for call, _ in calls], key_kinds + [kind for _, kind in calls]
        by = ""
        if keys:
            inner = ", ".join(keys)
            by = f" group by {self.rng.choice([inner, inner, inner, f'rollup ({inner})', f'cube ({inner})'])}"
            if self.chance(0.2):
                by += f" having count(*) > {self.rng.choice([0, 1, 3])}"
        return f"select {_named(items)} from {text}{where}{by}", kinds

    def aggregate(self, scope: list[Column]) -> tuple[str, str]:
        kind = self.rng.choice([kind for kind in self.kinds(scope) if kind != "bool"] or ["int"])
        arg = self.expression(scope, kind, 1)
        if kind in _NUMBERS and self.chance(0.5):
            call = (
                self.rng.choice(["sum", "avg", "stddev_samp", "var_pop"])
                if kind != "dec"
                else self.rng.choice(["sum", "avg"])
            )
            result = "flt" if call != "sum" or kind == "flt" else "sum"
        else:
            call = self.rng.choice(["min", "max", "count"])
            result = "int" if call == "count" else kind
        distinct = "distinct " if call in ("count", "min", "max") and self.chance(0.15) else ""
        text = f"{call}({distinct}{arg})" if self.chance(0.85) else "count(*)"
        if text == "count(*)":
            result = "int"
        if self.chance(0.15):
            text += f" filter (where {self.predicate(scope, 0)})"
        return text, result

    # ---- expressions

    kind_of: dict[str, str]

    def kinds(self, scope: list[Column]) -> list[str]:
        return list(dict.fromkeys(kind for _, kind in scope if kind != "sum")) or ["int"]

    def kind(self, scope: list[Column]) -> str:
        return self.rng.choice(self.kinds(scope))

    def expression(self, scope: list[Column], kind: str, depth: int) -> str:
        text = self.make_expression(scope, kind, depth)
        self.kind_of = {**getattr(self, "kind_of", {}), text: kind}
        return text

    def make_expression(self, scope: list[Column], kind: str, depth: int) -> str:
        names = [name for name, its in scope if its == kind]
        if depth == 0 or self.chance(0.45) or kind in ("big", "sum"):
            return self.rng.choice(names) if names and self.chance(0.9) else self.literal(kind)
        one, two = (self.expression(scope, kind, depth - 1) for _ in range(2))
        if self.chance(0.25):
            form = self.rng.choice(
                ["coalesce({}, {})", "case when {p} then {} else {} end", "nullif({}, {})", "case when {p} then {} end"]
            )
            return form.format(one, two, p=self.predicate(scope, 0))
        match kind:
            case "int":
                return self.rng.choice(
                    ["({} % 50 + {} % 9)", "({} % 50 - {} % 9)", "({} % 20 * 3)", "abs({} % 99)", "(-({} % 99))",
                     "({} % 50 // 4)", "greatest({}, {})", "least({}, {})", "cast({} as smallint)", "sign({})",
                     "try_cast({} as tinyint)", "coalesce(nullif({}, 3), {})", "({} % 9 & {} % 5)"]
                ).format(one, two)  # fmt: skip
            case "dec":
                forms = ["({} + 1)", "(- {})", "abs({})", "({} * 2.5)", "round({}, 1)", "cast({} as decimal(15, 3))",
                         "({} - 0.125)", "cast({} as decimal(18, 1))", "floor({})", "least({}, 7.25)"]  # fmt: skip
                return self.rng.choice(forms).format(one)
            case "flt":
                return self.rng.choice(["({} + {})", "({} * 0.5)", "abs({})", "({} / 4)"]).format(one, two)
            case "txt":
                forms = [
                    "upper({})",
                    "lower({})",
                    "({} || '!')",
                    "substring({}, 1, 2)",
                    "trim({})",
                    "replace({}, 'a', 'é')",
                    "reverse({})",
                    "left({}, 1)",
                    "right({}, 2)",
                    "lpad({}, 4, '*')",
                    "concat({}, 'x', null)",
                    "concat_ws('-', {}, 'y')",
                    "split_part({}, 'a', 1)",
                    "substring({}, -2)",
                    "repeat({}, 2)",
                    "translate({}, 'ab', 'x')",
                    "regexp_replace({}, '[ab]', 'Z')",
                    "cast(length({}) as varchar)",
                ]
                return self.rng.choice(forms).format(one)
            case "date":
                forms = ["({} + 1)", "({} - 40)", "cast(date_trunc('month', {}) as date)", "last_day({})",
                         "cast({} + interval 1 month as date)", "greatest({}, date '2024-02-01')",
                         "cast({} - interval '1 year 3 days' as date)"]  # fmt: skip
                return self.rng.choice(forms).format(one)
        return self.predicate(scope, 0)

    def literal(self, kind: str) -> str:
        choices = {
            "int": ["0", "1", "-3", "17"],
            "big": ["9223372036854775807", "0", "-1"],
            "sum": ["0", "1"],
            "dec": ["0.00", "1.25", "-250.50"],
            "flt": ["0.0::double", "2.25::double", "-1.5::double"],
            "txt": ["'a'", "''", "'Äpfel'", "'漢字'", "'zz'"],
            "date": ["date '2024-01-31'", "date '2024-02-29'", "date '2022-11-27'"],
            "bool": ["true", "false"],
        }
        return self.rng.choice(choices[kind])

    def predicate(self, scope: list[Column], depth: int) -> str:
        roll = self.rng.random()
        if roll < 0.25:
            op = self.rng.choice(["and", "or"])
            return f"({self.predicate(scope, 0)} {op} {self.predicate(scope, max(0, depth - 1))})"
        if roll < 0.32:
            return f"(not {self.predicate(scope, 0)})"
        if depth > 0 and roll < 0.55:
            return self.subquery_predicate(scope)
        kind = self.kind(scope)
        one = self.expression(scope, kind, 1)
        if kind == "bool":
            return f"({one} is {self.rng.choice(['', 'not '])}{self.rng.choice(['true', 'false', 'null'])})"
        form = self.rng.random()
        if form < 0.15:
            return f"({one} is {self.rng.choice(['', 'not '])}null)"
        if form < 0.3:
            values = [self.literal(kind) for _ in range(3)] + (["null"] if self.chance(0.2) else [])
            return f"({one} {self.rng.choice(['', 'not '])}in ({', '.join(values)}))"
        if form < 0.4:
            return f"({one} between {self.literal(kind)} and {self.literal(kind)})"
        if form < 0.5 and kind == "txt":
            like = self.rng.choice(["", "not "]) + self.rng.choice(["like", "ilike"])
            return f"({one} {like} {self.rng.choice(['%a%', 'a%', '%', '_', '%字'])!r})"
        two = self.literal(kind) if self.chance(0.5) else self.expression(scope, kind, 0)
        op = self.rng.choice(["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"])
        return f"({one} {op} {two})"

    # ---- subqueries

    def inner(self, scope: list[Column]) -> tuple[str, list[Column], str]:
        """The table, columns and condition of a subquery, correlated most of the time."""
        table = self.rng.choice(["c", "w", "a", "e"])
        alias = self.alias()
        columns = [(f"{alias}.{name}", TYPES[name][0]) for name in COLUMNS[table]]
        pairs = [(a, b) for a, ka in scope for b, kb in columns if ka == kb]
        parts = []
        if pairs and self.chance(0.75):
            a, b = self.rng.choice(pairs)
            parts.append(f"{b} {self.rng.choice(['=', '=', '=', '<', '>='])} {a}")
        if self.chance(0.4):
            parts.append(self.predicate(columns, 0))
        return f"{table} {alias}", columns, f" where {' and '.join(parts)}" if parts else ""

    def subquery_predicate(self, scope: list[Column]) -> str:
        table, columns, where = self.inner(scope)
        negation = self.rng.choice(["", "not "])
        kinds = [kind for kind in self.kinds(scope) if any(its == kind for _, its in columns)]
        if not kinds or self.chance(0.4):
            return f"({negation}exists (select 1 from {table}{where}))"
        kind = self.rng.choice(kinds)
        one, two = self.expression(scope, kind, 0), self.expression(columns, kind, 0)
        if self.chance(0.6):
            return f"({one} {negation}in (select {two} from {table}{where}))"
        op = self.rng.choice(["=", "<", ">=", "<>"])
        if self.chance(0.5) and kind != "bool":
            return f"({one} {op} (select {self.rng.choice(['min', 'max'])}({two}) from {table}{where}))"
        return f"({one} {op} {self.rng.choice(['any', 'all'])} (select {two} from {table}{where}))"

    def scalar_subquery(self, scope: list[Column]) -> tuple[str, str]:
        table, columns, where = self.inner(scope)
        call, kind = self.aggregate(columns)
        return f"(select {call} from {table}{where})", kind


def _named(items: list[str]) -> str:
    return ", ".join(f"{item} as c{i}" for i, item in enumerate(items))
