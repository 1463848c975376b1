"""Every example runs as it stands, in a process of its own, and says what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
EXAMPLES = TOP / "examples"
CALLS = {
    "orders.sql": ["-m", "sqlengine", "examples/orders.sql"],
    "near_duplicates.sql": ["-m", "sqlengine", "--udf", "udfs/text.py", "examples/near_duplicates.sql"],
    "explode.sql": ["-m", "sqlengine", "--udf", "udfs/text.py", "examples/explode.sql"],
    "memory_tour.sql": ["-m", "sqlengine", "-m", "220MB", "examples/memory_tour.sql"],
    "pictures.sql": ["examples/pictures.py"],
}
LINES = {
    "orders.sql": ["country,orders,revenue,mean_price"],
    "near_duplicates.sql": ['"News from the tram, no. 8",Copied report no. 27,0.95', "40,435"],
    "explode.sql": ["farming,10", "culture,8", '"News from the museum, no. 6",76,59'],
    "memory_tour.sql": [
        "verdict: fits by spilling",
        "verdict: fits\n",
        "memory_limit 220MB",
        "0,2,1500000",
        "spill,true",
    ],
    "pictures.sql": ["│     640 │     480 │ jpeg    │     18 │", "│     800 │       18 │", "│     54 │"],
}


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_all_are_here() -> None:
    assert {file.name for file in EXAMPLES.glob("*.sql")} == set(CALLS) == set(LINES)


@pytest.mark.parametrize("name", CALLS)
def test_example(name: str) -> None:
    shown = run(*CALLS[name])
    for line in LINES[name]:
        assert line in shown


def test_the_data_is_made_by_its_script(tmp_path: Path) -> None:
    """Texts byte by byte; of the Parquet file the rows, as its bytes depend on Arrow's version."""
    script = (EXAMPLES / "make_data.py").read_text()
    copy = tmp_path / "make_data.py"
    copy.write_text(script)
    subprocess.run([sys.executable, str(copy)], check=True, timeout=120)
    for name in ("customers.csv", "articles.jsonl"):
        assert (tmp_path / "data" / name).read_bytes() == (EXAMPLES / "data" / name).read_bytes()
    shown = [
        run(
            "-m", "sqlengine", "-c", f"select count(*), sum(price), max(ordered_on) from '{folder}/data/orders.parquet'"
        )
        for folder in (EXAMPLES, tmp_path)
    ]
    assert shown[0] == shown[1]
