"""`python -m deployment.openapi`: write the reference page, or print the document as JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deployment.openapi.document import description, description_bytes
from deployment.openapi.reference import reference_page

PAGE = Path(__file__).with_name("REFERENCE.md")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployment.openapi", description="Write the HTTP reference page.")
    parser.add_argument("--to", type=Path, default=PAGE, help="file to write (default: the page of this package)")
    parser.add_argument("--json", action="store_true", help="print the OpenAPI document and write nothing")
    args = parser.parse_args(argv)
    if args.json:
        sys.stdout.write(description_bytes().decode() + "\n")
        return 0
    args.to.write_text(reference_page(description()), encoding="utf-8")
    print(args.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
