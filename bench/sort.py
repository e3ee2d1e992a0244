"""Sort lines by their bytes: sort.py INPUT OUTPUT

Prints "TOTAL n", the lines written.
"""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("sort").getOrCreate()
spark.read.text(sys.argv[1]).sort("value").write.mode("overwrite").text(sys.argv[2])
print("TOTAL", spark.read.text(sys.argv[2]).count())
spark.stop()
