"""vits-espeak: text to speech from nothing but espeak-ng's voice.

80 minutes of one core: 5 for the speech, 75 for three stages. Needs espeak-ng's shared
library (Debian's libespeak-ng1) and the package wordfreq.
"""

NEEDS = ("clinc150", "banking77")
