"""Text for trainables: corpora, held-out split, tokenizers and the cache of token arrays."""
