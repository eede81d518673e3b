"""`manage.py prices` and `manage.py rates`."""
