"""Language models that are asked: any endpoint that speaks OpenAI's interface, or a model at hand."""
