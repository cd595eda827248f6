"""The Hugging Face hub: names of models, the connection, and what is in the cache."""
