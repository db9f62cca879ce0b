"""The service and the batch job of notebook 13, and what was measured of them."""
