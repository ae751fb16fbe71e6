"""End-to-end tests: a stock kubectl, real containers, real packets."""
