"""Point clouds: encoder, decoder, chamfer distance, likelihoods and semantics-preserving transformations."""
