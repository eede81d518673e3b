"""Each place of valid requests replaced by each of a set of wrong values, at every endpoint."""
