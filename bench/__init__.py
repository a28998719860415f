"""The benchmark: tap-hustle against what else reads such an API, on the sandbox. Run by ``make bench``."""
