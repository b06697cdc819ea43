# SPDX-License-Identifier: Apache-2.0
"""The program `lossd`. Its commands are in lossd._cli; this module says what to install if they cannot be imported."""

import sys

_NEEDED = {"click", "rich"}


def main() -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 called wrongly."""
    try:
        from lossd._cli import lossd
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.exit(f"Error: the command line needs {error.name}: pip install 'lossd[cli]'")
    lossd(prog_name="lossd")


if __name__ == "__main__":
    main()
