"""What becomes of each post: decided by the ledger, created as a draft, published once."""
