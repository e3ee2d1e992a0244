cluster "nucs" {
  kubernetes = "1.36"
}

ssh {
  user = "ubuntu"
}

node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
}

node "nuc02" {
  address = "192.168.1.12"
  hdfs { dirs = ["/data/hdfs"] }
}

node "nuc03" {
  address = "192.168.1.13"
  hdfs { dirs = ["/data/hdfs"] }
}

spark {
  properties = {
    "spark.network.timeout"  = "240s"
    "spark.sql.shuffle.partitions" = 12
    "spark.history.ui.title" = "nucs"
  }
}
