"""Documentation, and the commands that draw the rooms and check words and sentences."""
