"""Read vectors and labels from files or arrays, and turn them into clean ``Embeddings``."""
