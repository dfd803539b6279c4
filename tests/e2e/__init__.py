"""End-to-end tests; a package, so that their shared server ends with them."""
