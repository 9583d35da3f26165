"""The report on evaluated runs: one self-contained HTML page and a Markdown twin."""
