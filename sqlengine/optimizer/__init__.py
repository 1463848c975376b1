"""Rewriting of logical plans: one file per rule, in the order of `rules.RULES`; estimates in `cardinality`."""
