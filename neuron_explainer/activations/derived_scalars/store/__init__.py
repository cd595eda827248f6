"""Results of deriving: tensors with named axes, top k, tables and files."""
