"""Maps for evaluation, on which no method is trained: perturbation, guided backpropagation, Captum's attributions."""
