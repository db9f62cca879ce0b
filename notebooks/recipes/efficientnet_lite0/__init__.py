"""efficientnet-lite0, the base as it is: helpers/converters/efficientnet.py.

There is nothing to train; its photographs are in this repository.
"""

NEEDS = ()
