"""The logical plan: frozen nodes that say what to compute, with derived schemas."""
