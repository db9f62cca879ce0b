"""marian-en-fr-ui: English interface messages into French, from scratch.

An hour by the clock, 30 minutes of one core. Fetching 176 packages needs npm.
"""

NEEDS = ("ui-packages",)
