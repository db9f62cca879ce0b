"""minilm-nli: MiniLM, fine-tuned to say whether a text entails a sentence.

80 minutes of one core: 30 for the texts that SmolLM2 writes, 25 for the first step,
23 for the second. `python -m recipes train minilm-nli` runs all three.
"""

NEEDS = (
    "sst2",
    "clinc150",
    "banking77",
    "wordnet-3_0",
    "wordnet-3_1",
    "snli",
    "goemotions",
    "hwu64",
    "dbpedia",
    "trec",
    "uci_news",
    "huffpost",
    "ag_news",
    "development",
)
