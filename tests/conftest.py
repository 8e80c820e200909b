"""For all tests."""

import os

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it for its workers; tables are as wide as it says
