"""clip-photos, computed from two bases: helpers/converters/clip_photos.py."""
