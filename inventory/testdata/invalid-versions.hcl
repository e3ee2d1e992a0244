cluster "a" { kubernetes = "v1.36.3" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
images {
  hadoop  = "apache/hadoop"
  spark   = "apache/spark:latest"
  flannel = "Not An Image:1"
}
