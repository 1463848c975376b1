"""Dry runs: statements are bound, planned and forecast, in order, and no row of them is read, written or computed.

What later statements need to be bound happens: settings and variables are set, functions are loaded, views, macros and
tables are made. A table that a query would fill is there with the rows that the query is estimated to give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.expr.statistics import Stats
from sqlengine.formats.stored import store_schema
from sqlengine.physical.estimates import estimate
from sqlengine.physical.explain import physical_text
from sqlengine.physical.explain_memory import forecast_document, verdict_line
from sqlengine.physical.fit import resolved
from sqlengine.physical.forecast import MemoryForecast, least_limit
from sqlengine.plan.nodes import Plan
from sqlengine.relation import Relation
from sqlengine.runtime.process_watch import operator_budget
from sqlengine.runtime.row_store import RowStore
from sqlengine.session import Session
from sqlengine.sql import statements as s
from sqlengine.sql.parse import Parsed

if TYPE_CHECKING:
    from sqlengine.errors import Location


@dataclass(frozen=True)
class PlannedQuery:
    """A query of a statement: its place, its operators as text, and what it would take. `least`: the smallest limit at
    which it would run (None: no limit is enough)."""

    location: Location
    plan: str
    forecast: MemoryForecast
    least: int | None

    @property
    def allowed(self) -> bool:
        """Whether it would be started, under the memory limit and `fail_over_memory`."""
        bound = self.forecast.settings.fail_over_memory
        return self.forecast.verdict != "refused" and not (bound and self.forecast.peak > bound)

    def text(self) -> str:
        """The verdict on a line that begins with the place, and the operators below it."""
        place = f"{self.location.source}:{self.location.line}:{self.location.col}"
        tree = "\n".join(f"  {line}" for line in self.plan.split("\n"))
        return f"{place}: {verdict_line(self.forecast, self.least)}\n{tree}"

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        place = {"file": self.location.source, "line": self.location.line, "col": self.location.col}
        return {**place, "allowed": self.allowed, **forecast_document(self.forecast, self.least), "plan": self.plan}


class DrySession(Session):
    """A session in which nothing runs. `planned` are the queries of the statements so far."""

    def __init__(self, *, config: Any = None, **settings: Any) -> None:
        super().__init__(config=config, **settings)
        self.planned: list[PlannedQuery] = []
        self._place: Location | None = None
        self._filling: _PlannedStore | None = None

    @classmethod
    def like(cls, session: Session) -> DrySession:
        """One that knows what `session` knows and has its settings; what it makes, the other does not see."""
        made = cls()
        made._settings = session.current
        made._weight = session.weight
        made.catalog = session.catalog.copy()
        made.user_functions = session.user_functions.copy()
        return made

    def _statement(self, parsed: Parsed, around: Any) -> Relation:
        self._place = parsed.text.location(parsed.start, parsed.start + 1)
        if isinstance(parsed.statement, s.DescribeRows) and parsed.statement.summary:
            # The aggregation over the query is planned from its columns alone.
            parsed = replace(parsed, statement=s.SelectRows(parsed.statement.tree))
        relation = super()._statement(parsed, around)
        if isinstance(parsed.statement, s.SelectRows | s.ExecutePrepared) and not relation.is_status:
            self._note(relation.plan)
        return relation

    def run(
        self, plan: Plan, relation: Relation | None = None, timeout: float | None = None
    ) -> Iterator[pa.RecordBatch]:
        """No rows. The plan is noted, and the table being filled gets as many rows as it would have."""
        stats = self._note(plan)
        if self._filling is not None:
            self._filling.expect(stats)
            self._filling = None
        yield from ()

    def explain(self, plan: Plan, kind: str, settings: Any = None, format: str = "text") -> str:
        if "analyze" in kind:
            self._note(plan)
            kind = "memory"
        return super().explain(plan, kind, settings, format)

    def new_store(self, types: Any, owner: str) -> RowStore:
        self._filling = _PlannedStore(store_schema(types), self._pool, self._spill, owner)
        return self._filling

    def _note(self, plan: Plan) -> Stats:
        found = self.forecast(plan)
        least = least_limit(self.planner(plan), self._settings, self._weight, lambda o: o.verdict != "refused")
        capacity = operator_budget(found.limit, self._weight)
        root = self._operators(plan, resolved(self._settings, capacity))
        assert self._place is not None
        self.planned.append(PlannedQuery(self._place, physical_text(root), found, least))
        return estimate(root)


class _PlannedStore(RowStore):
    """Rows that are only expected: what reads them is estimated as if they were there."""

    def expect(self, stats: Stats) -> None:
        self.rows, self.bytes = int(stats.rows), int(stats.bytes)
        self.largest = min(self.bytes, 1 << 20)
        for facts in self.facts:
            facts.bytes = self.bytes // len(self.facts)
