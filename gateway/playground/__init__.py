"""The playground: a request sent from the browser."""
