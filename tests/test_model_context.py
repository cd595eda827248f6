"""A model's context: sizes, weights by place, life and death of the model."""

import torch


def test_smollm2(smollm2) -> None:
    model = smollm2.get_or_create_model()
    for prompt, answer in [
        ("The capital of France is", " Paris"),
        ("When Mary and John went to the store, John gave a drink to", " Mary"),
    ]:
        logits = model(torch.tensor([smollm2.encode(prompt)]), logits_at="last")
        assert smollm2.decode_token(int(logits.argmax())) == answer
