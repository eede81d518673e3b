"""What templates of every page use."""
