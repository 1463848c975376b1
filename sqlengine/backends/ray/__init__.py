"""The Ray backend: the stages of a plan as tasks of a cluster. Imported only when a query asks for it.

`driver` follows the plan stage by stage, `scheduler` runs the units of a stage and what has to be run again, `worker`
is what runs there, `outputs` what a unit leaves, `shuffle_files` and `shuffle_objects` where it is left.
"""
