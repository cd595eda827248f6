"""What a page of answers asks, step by step: values that can be kept, answers that are held, the code of both."""
