"""The native API: requests, quotes, what is on record, backtests."""
