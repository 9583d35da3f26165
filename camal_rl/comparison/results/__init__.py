"""Results as data: committed result files, and the tables and figures of pages that are built from them."""
