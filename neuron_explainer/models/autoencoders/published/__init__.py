"""Autoencoders on the Hugging Face hub: by release and id as SAELens users write them, or by repository and folder."""
