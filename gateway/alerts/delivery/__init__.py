"""How alerts are sent: email and webhooks."""
