"""What each vendor's API accepts and refuses, from its documents."""
