"""One node of an answer: its activations over the prompt, and what it writes."""
