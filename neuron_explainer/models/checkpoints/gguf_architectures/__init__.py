"""The architectures that llama.cpp writes into GGUF files, each as a family's configuration and weights."""
