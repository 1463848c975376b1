"""Physical operators: frozen data that says how, a `run` generator, and how much memory it needs."""
