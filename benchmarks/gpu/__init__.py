"""What `tools/gpu_check.py` checks and measures on a CUDA machine, a module for each subject."""
