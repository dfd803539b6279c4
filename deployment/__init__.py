"""Ray Serve application: ingress and dialects, router, engine replicas, task store, artifact store."""
