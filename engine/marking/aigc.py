"""The `AIGC` field of a file's metadata (GB 45438-2025, annex E), as the hosted API's files carry it.

Label 1 says that the content is generated, ContentProducer by whose service, ProduceID which task of it. The reserved
codes and the propagator's fields are empty: they are for whoever passes the file on.
"""

from __future__ import annotations

import json
from pathlib import Path

import av

AIGC = "AIGC"


def aigc_field(producer: str, produce_id: str) -> str:
    """The field's value: ASCII JSON, which every reader of metadata gives back as it is."""
    fields = {
        "Label": "1",
        "ContentProducer": producer,
        "ProduceID": produce_id,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(fields)


def read_metadata(path: Path) -> dict[str, str]:
    """A file's metadata, by key.

    Raises:
        av.error.FFmpegError: it is no media file.
    """
    with av.open(str(path)) as container:
        return dict(container.metadata)
