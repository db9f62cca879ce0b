"""clip-photos, computed from two bases: helpers/converters/clip_photos.py.

There is nothing to train; its photographs are in this repository.
"""

NEEDS = ()
