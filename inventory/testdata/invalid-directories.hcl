cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
  nfs { export = "/" }
  hdfs { dirs = ["data", "/etc", "/etc/hdfs", "/home/ubuntu/hdfs", "/srv", "/var/lib/kubelet", "/data/../etc", "/data/", "/var/lib/nucspark/disk", "/data/a b", ""] }
}
node "b" {
  address = "192.168.1.12"
  nfs { export = "/data" }
  hdfs { dirs = ["/data/hdfs", "/disk2", "/disk2", "/data2"] }
}
node "c" {
  address = "192.168.1.13"
  hdfs { dirs = [] }
}
node "d" {
  address = "192.168.1.14"
  hdfs { dirs = "/data/hdfs" }
  nfs {}
}
