"""`python -m sqlengine`."""

import sys

from sqlengine.cli.main import main

sys.exit(main())
