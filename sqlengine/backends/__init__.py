"""Where stages run: on threads of this process, or on a cluster. Both run tasks with `worker`."""
