"""What providers keep of calls: which ids an organization got, and how many tokens they name."""
