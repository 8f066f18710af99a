"""Other libraries behind the contract of unetzoo."""
