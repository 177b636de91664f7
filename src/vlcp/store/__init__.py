"""Keys and transactions: contract, backends, mirror, watches, transaction."""
