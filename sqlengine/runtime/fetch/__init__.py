"""Fetching URLs: options, the window of bytes and connections in flight, and the ways to reach each scheme."""
