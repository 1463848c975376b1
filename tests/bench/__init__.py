"""Benchmarks beside other engines: `python -m tests.bench --help`. One process per engine, query and round."""
