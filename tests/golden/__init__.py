"""Reference numbers of the authors' own code, and what is needed to compare with them."""
