"""Results of deriving: tensors with named axes, their names for people, the largest of them, and files."""
