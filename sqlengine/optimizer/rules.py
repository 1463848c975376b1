"""The rules of the optimizer, in the order in which they run. What is written here is all there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlengine.errors import InternalError
from sqlengine.optimizer.defer_calls import defer_calls
from sqlengine.optimizer.distinct_aggregates import distinct_aggregates
from sqlengine.optimizer.fold_constants import fold_constants
from sqlengine.optimizer.infer_predicates import infer_predicates
from sqlengine.optimizer.join_order import join_order
from sqlengine.optimizer.lift_calls import lift_calls
from sqlengine.optimizer.merge_projects import merge_projects
from sqlengine.optimizer.order_predicates import order_predicates
from sqlengine.optimizer.prune_columns import prune_columns
from sqlengine.optimizer.push_filters import push_filters
from sqlengine.optimizer.push_limits import push_limits
from sqlengine.optimizer.push_semi_joins import push_semi_joins
from sqlengine.optimizer.remove_sorts import remove_sorts
from sqlengine.optimizer.share_expressions import share_expressions
from sqlengine.optimizer.simplify_predicates import simplify_predicates
from sqlengine.optimizer.unwrap_casts import unwrap_casts
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import allow_deep_trees


@dataclass(frozen=True)
class Rule:
    """A rewriting that keeps the answer: `name` is what `settings.disabled_rules` takes, unless plans need the rule."""

    name: str
    apply: Callable[[Plan, Settings], Plan]
    needed: bool = False


RULES: tuple[Rule, ...] = (
    Rule("fold_constants", fold_constants),
    Rule("unwrap_casts", unwrap_casts),
    Rule("simplify_predicates", simplify_predicates),
    Rule("remove_sorts", remove_sorts),
    Rule("push_filters", push_filters),
    Rule("infer_predicates", infer_predicates),
    Rule("push_semi_joins", push_semi_joins),
    Rule("join_order", join_order),
    Rule("distinct_aggregates", distinct_aggregates),
    Rule("prune_columns", prune_columns),
    Rule("merge_projects", merge_projects),
    Rule("share_expressions", share_expressions),
    Rule("push_limits", push_limits),
    Rule("order_predicates", order_predicates),
    Rule("defer_calls", defer_calls),
    Rule("lift_calls", lift_calls, needed=True),
)


def optimize(plan: Plan, settings: Settings) -> Plan:
    """The plan after all rules that are not in `settings.disabled_rules`. An unsound rule is an InternalError."""
    steps = trace(plan, settings)
    return steps[-1][1] if steps else plan


def trace(plan: Plan, settings: Settings) -> list[tuple[str, Plan]]:
    """The plan after each rule that changed it, with the rule's name; for EXPLAIN."""
    allow_deep_trees()
    steps = []
    for rule in RULES:
        if rule.name in settings.disabled_rules and not rule.needed:
            continue
        new = rule.apply(plan, settings)
        if new is not plan:
            verify(rule.name, plan, new)
            steps.append((rule.name, new))
        plan = new
    return steps


def verify(name: str, old: Plan, new: Plan) -> None:
    """Raise InternalError unless the new plan has the old columns. That every node finds the columns that it reads has
    been checked by its constructor."""
    if not new.schema.equals(old.schema):
        raise InternalError(f"rule {name} changed the columns from {old.schema.names} to {new.schema.names}")
