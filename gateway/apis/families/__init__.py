"""What the vendors' families of models differ in."""
