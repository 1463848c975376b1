"""Which backend runs a query: what the settings say. A session keeps its connection to a cluster here."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlengine.backends.local import LocalBackend, QueryContext
from sqlengine.backends.worker import Batches
from sqlengine.errors import BackendError
from sqlengine.operators.base import Operator

if TYPE_CHECKING:
    from sqlengine.backends.ray.cluster import RayCluster


class Backends:
    """One session's. Ray is imported when the first query asks for it."""

    def __init__(self) -> None:
        self._cluster: RayCluster | None = None
        self._lock = threading.Lock()

    def run(self, context: QueryContext, root: Operator) -> Batches:
        """The rows of a physical plan; may be closed early."""
        if context.settings.backend == "local":
            return LocalBackend(context).run(root)
        cluster = self.cluster(context)
        from sqlengine.backends.ray.driver import RayBackend
        from sqlengine.backends.ray.planning import is_here

        if is_here(root):
            return LocalBackend(context).run(root)
        return RayBackend(context, cluster).run(root)

    def explain(self, context: QueryContext, root: Operator) -> str | None:
        """The plan as it will be cut into stages on a cluster; None for the local backend."""
        if context.settings.backend == "local":
            return None
        from sqlengine.backends.ray.explain import stages_text

        return stages_text(context, self.cluster(context), root)

    def explain_memory(self, context: QueryContext, root: Operator, format: str) -> str:
        """What each worker and the whole cluster will need ; never for the local backend."""
        from sqlengine.backends.ray.explain import memory_text

        return memory_text(context, self.cluster(context), root, format)

    def summary(self, context: QueryContext) -> str:
        return self.cluster(context).summary(context.settings)

    def cluster(self, context: QueryContext) -> RayCluster:
        """The connection, made at the first call and again when `ray_address` has changed."""
        try:
            import ray  # noqa: F401  # only whether it is there
        except ImportError:
            raise BackendError(
                "the ray backend needs the package ray", code="backend_missing", hint="pip install 'sqlengine[ray]'"
            ) from None
        from sqlengine.backends.ray.cluster import RayCluster

        with self._lock:
            made = self._cluster
            if made is not None and (made.address != context.settings.ray_address or not made.alive()):
                made.close()
                made = None
            if made is None:
                made = self._cluster = RayCluster(context.settings)
            return made

    def close(self) -> None:
        with self._lock:
            made, self._cluster = self._cluster, None
        if made is not None:
            made.close()
