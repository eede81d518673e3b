"""What counts as an alert."""
