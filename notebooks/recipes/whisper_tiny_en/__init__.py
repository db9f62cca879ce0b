"""whisper-tiny.en: a base as it is; its words are counted on six recordings."""

NEEDS = ("pocketsphinx",)
