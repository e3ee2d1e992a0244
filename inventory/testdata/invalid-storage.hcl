cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
}
node "nuc02" {
  address = "192.168.1.12"
  nfs { export = "/srv/nfs" }
  hdfs { dirs = ["/data/hdfs"] }
}
volume "a" {
  node = "nuc01"
  size = "1Gi"
}
volume "b" {
  node = "nuc20"
  size = "1Gi"
}
volume "c" {}
hdfs { replication = 2 }
