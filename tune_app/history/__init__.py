"""Tables of finished runs: what replay and warm starts read."""
