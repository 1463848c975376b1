"""Makes the small data of the examples: a shop's customers (CSV) and orders (Parquet), news articles (JSON lines);
the same files each time."""

import csv
import datetime
import decimal
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "data"
COUNTRIES = ["Chile", "Denmark", "Ghana", "Japan", "Portugal", "Vietnam"]
PRODUCTS = ["lamp", "chair", "desk", "shelf", "rug", "clock"]


SUBJECTS = {
    "harbour": ("The harbour", "ships", ["trade", "sea"]),
    "library": ("The city library", "readers", ["culture", "books"]),
    "tram": ("The tram company", "passengers", ["traffic", "city"]),
    "orchard": ("The old orchard", "growers", ["farming", "food"]),
    "museum": ("The museum of clocks", "visitors", ["culture", "history"]),
    "observatory": ("The observatory", "astronomers", ["science", "night"]),
}
SENTENCES = [
    "{place} reported {number} {people} in {month}, more than in any month before.",
    "Nobody had expected so many {people} after the long winter.",
    "A new hall will open in {month}, the director said on {day}.",
    "The costs of {number} thousand crowns are shared with the county.",
    "Critics say that {people} need better signs rather than a larger building.",
    "Volunteers counted the {people} for {number} days and wrote every name in a book.",
    "On {day} the doors stay closed, as they have for {number} years.",
    "The plan was drawn in {month} and changed {number} times since.",
]
MONTHS = ["January", "March", "May", "July", "September", "November"]
DAYS = ["Monday", "Tuesday", "Thursday", "Saturday"]


def articles() -> None:
    """Thirty short news articles, some of them copies of others with a few words changed."""
    chance = random.Random(11)
    made = []
    for number in range(1, 25):
        name, (place, people, tags) = chance.choice(list(SUBJECTS.items()))
        body = " ".join(
            sentence.format(
                place=place, people=people, number=chance.randint(2, 900), month=chance.choice(MONTHS),
                day=chance.choice(DAYS),
            )
            for sentence in chance.sample(SENTENCES, 6)
        )  # fmt: skip
        made.append({"id": number, "title": f"News from the {name}, no. {number}", "tags": tags, "body": body})
    for number, source in zip(range(25, 31), (3, 3, 8, 12, 17, 20), strict=True):
        copied = made[source - 1]["body"].replace("said", "told us").replace("more than", "which is above")
        words = copied.split(" ")
        words[chance.randrange(len(words))] = "indeed"
        made.append({"id": number, "title": f"Copied report no. {number}", "tags": ["agency"], "body": " ".join(words)})
    with open(FOLDER / "articles.jsonl", "w") as file:
        for article in made:
            file.write(json.dumps(article) + "\n")


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
    articles()


if __name__ == "__main__":
    main()
