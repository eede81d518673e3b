"""One request from judgement to settlement; `pipeline.py` has its whole path."""
