cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
spark {
  master {
    requests { memory = "2Gi" }
  }
  worker {
    requests {
      cpu    = "4"
      memory = "12Gi"
    }
    limits {
      cpu    = "3"
      memory = "8Gi"
    }
  }
  executor {
    cores  = 4
    memory = "7500m"
  }
}
