"""Which provider a request goes to, where several serve its model."""
