"""Task store: the only truth about tasks, leases and metric rollups. `base` is the protocol; a folder a database."""

from deployment.store.choice import open_store

__all__ = ["open_store"]
