"""Names on the package index: tables that `make_names` generates and `distributions` reads."""
