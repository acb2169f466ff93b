"""The method, free of any modality: posteriors, the model, objectives, consistency. Imports torch alone."""
