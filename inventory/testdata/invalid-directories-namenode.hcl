cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
  nfs { export = "/data/meta" }
}
node "b" {
  address = "192.168.1.12"
  hdfs { dirs = ["/data/meta/second"] }
}
node "c" {
  address = "192.168.1.13"
  hdfs { dirs = ["/data/meta"] }
}
hdfs {
  namenode {
    dir            = "/data/meta"
    checkpoint_dir = "/data/meta/second"
  }
}
