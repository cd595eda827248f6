"""What is asked: the prompt, the answers, where and by which metric; and hints about questions that may mislead."""
