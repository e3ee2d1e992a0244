cluster "solo" {
  kubernetes = "1.36.3"
}
ssh {
  user     = "ubuntu"
  password = var.pw
}
variable "pw" {
  default   = env("NUCSPARK_TEST_PASSWORD")
  sensitive = true
}
node "solo" {
  address = "10.0.0.5"
  role    = "control-plane"
  hdfs { dirs = ["/data", "/data2"] }
}
spark {
  worker {
    limits {
      cpu    = 1.5
      memory = "3Gi"
    }
  }
}
