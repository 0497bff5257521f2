"""HTTP: what other services tell Telecine."""
