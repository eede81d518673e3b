"""`POST /v1/chat/completions`, passed through or translated."""
