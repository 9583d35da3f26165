"""Results as data: committed result files, and the tables and figures that pages generate from them."""
