"""Count the words of text files: wordcount.py INPUT [--top N] [--any]

INPUT is a file, directory or pattern, as Spark reads it: hdfs:///data/*.txt.
Prints "TOTAL n", then the N most frequent words, most frequent first.

Words are counted as `LC_ALL=C wc -w` counts them: runs of bytes without space,
tab, newline, vertical tab, form feed and carriage return that hold at least one
printable character of ASCII. Some versions of wc count runs without any, too,
as a dash in UTF-8 that stands alone; --any does as they do. This tells them
apart: printf '\\351' | LC_ALL=C wc -w
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def main():
    parser = argparse.ArgumentParser(description="Count the words of text files.")
    parser.add_argument("input")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="words to print (default 10)")
    parser.add_argument("--any", action="store_true", help="count words without a printable character of ASCII, too")
    args = parser.parse_args()

    spark = SparkSession.builder.appName("wordcount").getOrCreate()

    # In Latin-1 every byte is one character, so that no text is changed on its
    # way, whatever its encoding; all of it stays in the JVM.
    line = F.decode(F.col("value").cast("binary"), "ISO-8859-1")
    words = spark.read.text(args.input).select(F.explode(F.split(line, r"[ \t\n\x0B\f\r]+")).alias("word"))
    words = words.where(F.length("word") > 0 if args.any else F.col("word").rlike("[!-~]"))
    counts = words.groupBy("word").count().cache()

    print("TOTAL", counts.agg(F.sum("count")).first()[0] or 0)
    for row in counts.orderBy(F.desc("count"), "word").take(args.top):
        print(f"{row['count']:>12} {row['word'].encode('latin-1').decode('utf-8', 'replace')}")
    spark.stop()


if __name__ == "__main__":
    main()
