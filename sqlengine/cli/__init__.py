"""The command line: arguments, scripts, the interactive prompt, and how results look."""
