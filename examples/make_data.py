"""Makes the small data of the examples: a shop's customers (CSV) and orders (Parquet), the same files each time."""

import csv
import datetime
import decimal
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "data"
COUNTRIES = ["Chile", "Denmark", "Ghana", "Japan", "Portugal", "Vietnam"]
PRODUCTS = ["lamp", "chair", "desk", "shelf", "rug", "clock"]


def main() -> None:
    random.seed(7)
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "customers.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["customer_id", "name", "country", "since"])
        for number in range(1, 501):
            day = datetime.date(2019, 1, 1) + datetime.timedelta(days=random.randrange(2000))
            rows.writerow([number, f"Customer {number}", random.choice(COUNTRIES), day])
    count = 20_000
    start = datetime.date(2024, 1, 1)
    table = pa.table(
        {
            "order_id": pa.array(range(1, count + 1), pa.int64()),
            "customer_id": pa.array([min(500, int(random.expovariate(1 / 120)) + 1) for _ in range(count)], pa.int64()),
            "product": [random.choice(PRODUCTS) for _ in range(count)],
            "quantity": pa.array([random.randint(1, 9) for _ in range(count)], pa.int32()),
            "price": pa.array(
                [decimal.Decimal(random.randint(500, 90000)) / 100 for _ in range(count)], pa.decimal128(9, 2)
            ),
            "ordered_on": [start + datetime.timedelta(days=random.randrange(366)) for _ in range(count)],
        }
    )
    pq.write_table(table, FOLDER / "orders.parquet", row_group_size=5000)


if __name__ == "__main__":
    main()
