"""Wrong SQL from right SQL: statements of the tests with tokens left out, doubled, swapped, replaced and spliced."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from tests.sqllogic.records import read_records
from tests.tpcds.queries import QUERIES as TPCDS
from tests.tpch.queries import QUERIES as TPCH

_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+|::|->>?|<=|>=|<>|!=|\|\||:=|\s+|.", re.DOTALL)
_STRANGE = (
    "(", ")", "[", "]", "{", "}", ",", ";", ".", "*", "::", "->", "=>", ":=", "'", '"', "$1", "?", "''", "0", "-1",
    "1e999",     "9" * 40, "null", "select", "from", "where", "over", "partition by", "order by",
    "all", "any", "in", "not", "case",
    "when", "end", "unnest", "lateral", "pivot", "unpivot", "with recursive", "union",
    "intersect", "by name", "using",
    "join", "asof", "positional", "values", "exclude", "replace", "columns(*)", "qualify", "window", "grouping sets",
    "filter (where", "interval", "date", "cast(", "as", "struct", "map", "lambda x:", "x -> x", "limit", "50%",
    "tablesample", "\x00", "é", "🙂", "--", "/*", "$$", "\\", "#", "@", "~", "^", "rows between", "::int[]",
    "::enum('a')",     "[1:2]", "{'a': 1}", "exists", "rollup", "cube", "distinct on",
    "ignore nulls", "within group", "collate nocase",
)  # fmt: skip


@cache
def statements() -> tuple[str, ...]:
    folder = Path(__file__).parents[1] / "sql"
    found = [r.text for path in sorted(folder.glob("*.test")) for r in read_records(path) if r.kind != "comment"]
    return (*found, *(q for q in (*TPCH.values(), *TPCDS.values()) if len(q) < 1500))


@cache
def _split(text: str) -> tuple[str, ...]:
    return tuple(_TOKENS.findall(text))


def mutated(seed: int) -> str:
    """A statement of the tests after one to four changes."""
    rng = random.Random(seed)
    known = statements()
    tokens = list(_split(rng.choice(known)))
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        at = rng.randrange(len(tokens) + 1)
        to = min(len(tokens), at + rng.choice([1, 1, 2, 4, 9]))
        match rng.randrange(14):
            case 0:
                del tokens[at:to]
            case 1:
                tokens[at:at] = tokens[at:to]
            case 2:
                tokens[at:to] = reversed(tokens[at:to])
            case 3:
                tokens[at:to] = [" ", rng.choice(_STRANGE), " "]
            case 4:
                tokens[at:at] = [" ", rng.choice(_STRANGE), " "]
            case 5:
                other = _split(rng.choice(known))
                start = rng.randrange(len(other))
                tokens[at:to] = other[start : start + rng.choice([1, 2, 5, 20])]
            case 6:
                tokens[at:to] = ["(", *tokens[at:to], ")"]
            case 7:
                tokens = tokens[:at]
            case _:
                _exchange(rng, tokens, _split(rng.choice(known)))
        if not tokens:
            break
    return "".join(tokens)


def _exchange(rng: random.Random, tokens: list[str], other: tuple[str, ...]) -> None:
    """Put a word, number or text of another statement in the place of one: what still parses is for the binder."""

    def plain(token: str) -> bool:
        return token[0].isalnum() or token[0] in "'_"

    own, new = [n for n, token in enumerate(tokens) if plain(token)], [token for token in other if plain(token)]
    if own and new:
        tokens[rng.choice(own)] = rng.choice(new)


def nested(kind: str, depth: int) -> str:
    """A statement that is right and deep."""
    match kind:
        case "parentheses":
            return f"select {'(' * depth}1{')' * depth}"
        case "subqueries":
            return "select * from (" * depth + "select 1 as a" + ")" * depth
        case "scalar subqueries":
            return "select (" * depth + "select 1" + ")" * depth
        case "and":
            return "select " + " and ".join(["true"] * depth)
        case "or":
            return "select 1 where " + " or ".join(f"1 = {n}" for n in range(depth))
        case "plus":
            return "select " + " + ".join(["1"] * depth)
        case "concat":
            return "select " + " || ".join(["'a'"] * depth)
        case "minus signs":
            return "select " + "- " * depth + "1"
        case "not":
            return "select " + "not " * depth + "true"
        case "union all":
            return " union all ".join(["select 1"] * depth)
        case "lists":
            return f"select {'[' * depth}1{']' * depth}"
        case "structs":
            return "select " + "{'a': " * depth + "1" + "}" * depth
        case "case":
            return "select " + "case when true then " * depth + "1" + " end" * depth
        case "calls":
            return "select " + "abs(" * depth + "1" + ")" * depth
        case "casts":
            return "select 1" + "::int" * depth
        case "in":
            return "select 1 in (" + ", ".join(map(str, range(depth))) + ")"
        case "columns":
            return "select " + ", ".join(f"{n} as c{n}" for n in range(depth))
        case "values":
            return "values " + ", ".join(f"({n})" for n in range(depth))
        case "joins":
            return "select count(*) from (select 1 as a) t0 " + " ".join(
                f"join (select 1 as a) t{n} on t{n}.a = t{n - 1}.a" for n in range(1, depth)
            )
        case "with":
            tables = ", ".join(f"t{n} as (select * from t{n - 1})" for n in range(1, depth))
            return f"with t0 as (select 1 as a), {tables} select * from t{depth - 1}"
        case "types":
            return "select null::int" + "[]" * depth
        case "arrows":
            return "select '{}'" + " -> 'a'" * depth
        case "dots":
            return "select a" + ".a" * depth
        case "brackets":
            return "select [1]" + "[1]" * depth
        case "comments":
            return "select 1 " + "/* */" * depth
        case "semicolons":
            return ";" * depth + "select 1"
    raise ValueError(kind)


NESTED = (
    "parentheses", "subqueries", "scalar subqueries", "and", "or", "plus", "concat",
    "minus signs", "not", "union all",
    "lists", "structs", "case", "calls", "casts", "in", "columns", "values", "joins", "with",
    "types", "arrows", "dots",
    "brackets", "comments", "semicolons",
)  # fmt: skip
