cluster "a" {
  kubernetes = "1.36"
  cache      = "no"
}
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
  hdfs { dirs = ["/data/hdfs"] }
}
