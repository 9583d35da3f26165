"""Evaluation of trained agents: returns, attention, faithfulness, counterfactuals."""
