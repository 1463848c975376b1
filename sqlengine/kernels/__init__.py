"""Compiled loops over raw Arrow buffers. No Python object inside a loop; every loop runs without the GIL."""
