"""What a language model is asked: to write explanations, to simulate by them, to judge texts by them."""
