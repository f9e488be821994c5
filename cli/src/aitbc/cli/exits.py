"""The program's exit codes; 0 is done."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 3
EXIT_UNAUTHORISED = 4
