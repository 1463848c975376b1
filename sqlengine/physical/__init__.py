"""From the logical plan to operators: lowering, distribution over tasks, decisions with real sizes, EXPLAIN."""
