"""python -m harness. Tested through tests/test_cli.py."""

from harness.cli import main

if __name__ == "__main__":
    main()
