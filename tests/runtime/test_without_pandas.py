"""Arrow's first value imports no pandas, and pandas works as ever when it is imported after that."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")


@pytest.mark.parametrize(
    "then",
    [
        "import pandas; assert pa.array(pandas.Series([1.5, float('nan')])).null_count == 1",
        "assert type(pa.table({'a': [1]}).to_pandas()).__name__ == 'DataFrame'",
        "import pandas as p; df = p.DataFrame({'a': [1]}); assert sqlengine.sql('from df').df().equals(df)",
        "import pandas.testing, pandas; assert pandas.__spec__.loader is pandas.__loader__",
    ],
)
def test_pandas_comes_late(then: str) -> None:
    start = "import sys, sqlengine, pyarrow as pa; sqlengine.sql('select [1.5, 2]').fetchall(); pa.scalar(1.0)"
    script = f"{start}; assert 'pandas' not in sys.modules; {then}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
