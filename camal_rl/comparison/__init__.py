"""Everything about several runs at once: planning and executing a comparison, statistics, tables, plots, reports."""
