"""The ASGI server, its limits, the API's handler and compression."""
