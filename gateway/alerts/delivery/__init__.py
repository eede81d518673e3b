"""How alerts are sent: e-mail and webhooks."""
