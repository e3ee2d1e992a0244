"""Run a job, then go on until a file exists: hold.py PATH, or twenty minutes at most.

Pages of a running application can be looked at meanwhile. It fails where a
shell has run the inventory's spark.planted on the way to here.
"""

import os
import sys
import time

from pyspark.sql import SparkSession


def main():
    spark = SparkSession.builder.appName("e2e hold").getOrCreate()
    assert spark.sparkContext.parallelize(range(100), 4).count() == 100
    jvm = spark.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(sys.argv[1])
    fs = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    bound = time.monotonic() + 1200
    while not fs.exists(path):
        if time.monotonic() > bound:
            sys.exit(f"{sys.argv[1]} did not appear within twenty minutes")
        time.sleep(0.5)
    if os.path.exists("/tmp/nucspark-canary"):
        sys.exit("a shell has run spark.planted")
    spark.stop()


if __name__ == "__main__":
    main()
