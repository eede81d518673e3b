"""`GET /api/schema`: the API as OpenAPI 3.1."""
