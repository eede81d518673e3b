"""The client APIs: parse, bound, forward, answer and meter each of them."""
