"""The task store over any database that has the named statements: a thin layer of verbs.

The state machine's moves are in transitions.py, the metrics' arithmetic in rollup.py, statements and transactions in
sqlite/, postgres/ and memory/.
"""

from __future__ import annotations

from deployment.store.base import TaskStore
from deployment.store.client_verbs import ClientVerbs
from deployment.store.cluster_verbs import ClusterVerbs
from deployment.store.create_key_verbs import CreateKeyVerbs
from deployment.store.metric_verbs import MetricVerbs
from deployment.store.statements import Database
from deployment.store.tenant_verbs import TenantVerbs
from deployment.store.upload_verbs import UploadVerbs
from deployment.store.video_verbs import VideoVerbs
from deployment.store.webhook_verbs import WebhookVerbs
from deployment.store.work_verbs import EngineVerbs, MediaVerbs, RouterVerbs

MAIN_CLUSTER = "main"


class StatementStore(
    ClusterVerbs,
    ClientVerbs,
    CreateKeyVerbs,
    UploadVerbs,
    MediaVerbs,
    RouterVerbs,
    EngineVerbs,
    MetricVerbs,
    WebhookVerbs,
    TenantVerbs,
    VideoVerbs,
    TaskStore,
):
    """All verbs; `cluster` names the engines that this process belongs to."""

    def __init__(self, database: Database, cluster: str = MAIN_CLUSTER) -> None:
        super().__init__(database, cluster)

    def wait_for_work(self, after_sequence: int, timeout: float) -> int:
        """See TaskStore.wait_for_work."""
        return self._database.wait_for_work(after_sequence, timeout)

    def close(self) -> None:
        """Close this process's connections; verbs called later raise StoreUnavailable."""
        self._database.close()
