"""The components most like one: by what they write, read, or when they are active."""
