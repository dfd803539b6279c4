"""The OpenAPI 3.1 description of both dialects: one YAML file each, and one for what they share.

`python -m deployment.openapi` writes the reference page (REFERENCE.md) from it.
"""

from __future__ import annotations

from deployment.openapi.document import description, description_bytes

__all__ = ["description", "description_bytes"]
