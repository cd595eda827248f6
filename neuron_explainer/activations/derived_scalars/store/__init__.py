"""Results of deriving: tensors with named axes, their display names, top k, tables and files."""
