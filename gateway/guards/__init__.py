"""What refuses a call before money is held for it: policies, in the order model, then tokens."""
