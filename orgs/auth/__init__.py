"""Sign-in, request credentials and access control."""
