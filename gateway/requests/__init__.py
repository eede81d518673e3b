"""The audit log: recent requests, one request explained, exports, verification."""
