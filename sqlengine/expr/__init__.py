"""Typed expressions: nodes, the function registry, coercion, and their evaluation on record batches."""
