"""Run a small job, then end with this exit code: exit.py CODE [ARGS]

The arguments are printed as Python writes them, one a line.
"""

import sys

from pyspark.sql import SparkSession


def main():
    spark = SparkSession.builder.appName("exit").getOrCreate()
    assert spark.range(100).count() == 100
    spark.stop()
    for arg in sys.argv[1:]:
        print(ascii(arg))
    sys.exit(int(sys.argv[1]))


if __name__ == "__main__":
    main()
