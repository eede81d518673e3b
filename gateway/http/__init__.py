"""The JSON endpoints: authentication, requests, responses."""
