"""HTTP dialects: how a wire protocol becomes a ClipRequest, and a Task an answer."""
