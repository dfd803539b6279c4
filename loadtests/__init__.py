"""Load generators and capacity tools; they talk to a server only over HTTP."""
