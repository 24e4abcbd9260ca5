"""Answer questions about artifacts: their origin, their validity, and what would be made next."""
