"""Images: encoders, decoders, likelihoods and semantics-preserving transformations."""
