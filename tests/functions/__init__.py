"""The functions of SQL beside DuckDB's: how many names there are, and what they give for ordinary and nasty values."""
