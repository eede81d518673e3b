"""Model servers that others wrote, on the CPU, with a model made here: `make test SERVERS=seen`."""
