cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
spark {
  worker {
    limits { memory = "512Mi" }
  }
}
