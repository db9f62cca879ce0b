"""SmolLM2-135M-Instruct: a base as it is; prompts.py compares prompts for summaries."""

NEEDS = ()
