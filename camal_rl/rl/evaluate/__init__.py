"""What a trained agent is measured by: returns, attention, faithfulness, counterfactuals."""
