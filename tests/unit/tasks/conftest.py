"""Tests are files, not packages: what those of this folder share is found because the folder is on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
