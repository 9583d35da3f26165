"""Maps to judge by, that no method trains on: perturbation, guided backpropagation, those of Captum."""
