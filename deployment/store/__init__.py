"""Task store: the only truth about tasks, leases and metric rollups. `base` is the protocol; a folder a database."""

from deployment.store.choice import migrate_store, open_store, ready_store, store_name

__all__ = ["migrate_store", "open_store", "ready_store", "store_name"]
