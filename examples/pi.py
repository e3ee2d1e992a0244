"""Estimate pi by throwing darts on all executors: pi.py [TASKS]"""

import random
import sys

from pyspark.sql import SparkSession

DARTS = 1_000_000  # per task


def hits(seed):
    rnd = random.Random(seed)
    return sum(rnd.random() ** 2 + rnd.random() ** 2 <= 1 for _ in range(DARTS))


def main():
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    spark = SparkSession.builder.appName("pi").getOrCreate()
    total = spark.sparkContext.parallelize(range(tasks), tasks).map(hits).sum()
    print(f"pi is about {4 * total / (tasks * DARTS):.4f}")
    spark.stop()


if __name__ == "__main__":
    main()
