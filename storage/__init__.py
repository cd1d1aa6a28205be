"""The only package that knows MongoDB and Redis: documents in the stores, domain values outside."""
