"""`python -m danesurvey`: the same as the `danesurvey` command."""

from danesurvey.cli import main

if __name__ == "__main__":
    main()
