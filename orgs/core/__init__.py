"""Names, dimensions and API keys as plain Python: values in, values out."""
