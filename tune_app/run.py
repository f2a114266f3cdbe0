"""Short for the main verb: `python -m tune_app.run [STUDY]` is `python -m tune_app run [STUDY]`."""

from __future__ import annotations

import sys

from tune_app.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
