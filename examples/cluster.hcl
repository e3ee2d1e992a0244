# The shortest useful inventory: three machines, storage on two of them.
# docs/inventory.md explains every name.

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
  nfs { export = "/srv/nfs" }
  hdfs { dirs = ["/data/hdfs"] }
}

node "nuc03" {
  address = "192.168.1.13"
  nfs { export = "/srv/nfs" }
  hdfs { dirs = ["/data/hdfs"] }
}

volume "shared" {
  node = "nuc02"
  size = "50Gi"
}
