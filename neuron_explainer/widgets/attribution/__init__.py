"""The page on which a person asks "why A rather than B?", follows the answer, and changes the model."""
