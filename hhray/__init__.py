"""hhray serves a HappyHorse-1.0 class audio-video model from a Ray cluster; this package is its contract.

Importable anywhere in well under a second: it needs neither torch nor ray.
"""

__version__ = "0.1.0"
