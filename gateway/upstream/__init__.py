"""HTTP to the providers: the client, the relay, and what a failure proves."""
