"""Centers: what happens at the coarsest level, between encoder and decoder."""
