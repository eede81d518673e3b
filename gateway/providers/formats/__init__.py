"""The vendors' wire formats as pure functions over plain JSON: no SDK, no I/O."""
