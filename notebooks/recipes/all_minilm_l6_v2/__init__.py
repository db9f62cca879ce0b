"""all-MiniLM-L6-v2: a base as it is."""

NEEDS = ()
