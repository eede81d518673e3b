"""First run and invented data; nothing in production imports it."""
