"""whisper-digits: which digit, 0 to 9, does somebody say?

Three minutes on two cores that multiply bfloat16 fast, some ten on others. Needs
espeak-ng's shared library (Debian's libespeak-ng1).
"""

NEEDS = ("fsdd",)
