"""The actions of `manage.py prices`."""
