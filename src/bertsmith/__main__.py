"""``python -m bertsmith``, which is also what ``torchrun -m bertsmith`` starts."""

from bertsmith.cli.main import main

if __name__ == "__main__":
    main()
