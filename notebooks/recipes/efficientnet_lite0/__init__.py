"""efficientnet-lite0, the base as it is: helpers/converters/efficientnet.py."""
