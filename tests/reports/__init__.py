"""Public reports of what went wrong elsewhere, each with the test that shows what is right."""
