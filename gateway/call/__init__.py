"""One request from its checks to its settlement; `pipeline.py` has the whole path."""
