"""Task store: the only truth about tasks, leases and metric rollups. `base` is the protocol; one file per database."""
