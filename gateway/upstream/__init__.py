"""HTTP to the providers: the client, the pass-through, and what a failure proves."""
