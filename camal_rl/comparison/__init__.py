"""Many runs: the plan of a comparison, its execution, statistics, tables, plots and the report page."""
