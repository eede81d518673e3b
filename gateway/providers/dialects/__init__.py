"""The APIs that existing clients speak: how each asks, is measured, goes out and is answered."""
