variable "pw" {
  default   = env("NUCSPARK_TEST_PASSWORD")
  sensitive = true
}
variable "port" {
  default = env("NUCSPARK_TEST_PORT")
}
variable "cores" {
  default = 2
}
cluster "all" {
  kubernetes = "1.34"
  cache      = false
}
ssh {
  user            = "nuc"
  port            = var.port
  known_hosts     = "~/.ssh/known_hosts"
  password        = "a${var.pw}"
  sudo_password   = var.pw
  connect_timeout = "5s"
  idle_timeout    = "1m30s"
}
apt { lock_timeout = "1h" }
node "a" {
  address  = "172.31.77.11"
  role     = "control-plane"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBO5tSOK9ePUxrcX3m6ZMVwUb2ViznG4yQMlEv5iMfDS root@a"
  mac      = "1C-69-7A-01-02-03"
}
node "b" {
  address = "172.31.77.12"
  port    = 22
  labels  = { "example.org/rack" = "1", empty = "" }
  nfs { export = "/data/nfs" }
  hdfs { dirs = ["/data/hdfs", "/disk2/hdfs"] }
}
node "c" {
  address = "172.31.77.13"
  nfs {
    export = "/srv/nfs"
    server = "kernel"
  }
}
node "d" {
  address = "172.31.77.14"
  port    = null
}
volume "shared" {
  node = "b"
  size = "1.5Gi"
  uid  = 1000
  gid  = 1001
  mode = "2770"
}
network {
  pods     = "10.32.0.0/14"
  services = "10.96.0.0/12"
}
access { allow = ["192.168.0.0/24", "192.168.1.7"] }
mirror {
  apt      = "http://172.31.77.2/"
  registry = "http://172.31.77.2:5000"
  keys     = ["mirror.asc"]
}
registry "172.31.77.2:5000" {
  username = "me"
  password = var.pw
}
images {
  spark = "apache/spark@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}
patch "kubelet" {
  config = { failSwapOn = false, list = [1, "a", 2.5, null], deep = { a = { b = true } } }
}
patch "kubeadm" {
  ignore_preflight_errors = ["SystemVerification"]
}
nfs {
  version = "3"
  server  = "ganesha"
}
hdfs {
  replication = 1
  reserve     = "10G"
  namenode {
    dir            = "/data/namenode"
    checkpoint_dir = "/data/checkpoint"
    limits { memory = "512Mi" }
  }
  datanode {
    requests { memory = "512m" }
    limits {
      cpu    = 1
      memory = "1g"
    }
  }
}
spark {
  master {
    requests { cpu = "50m" }
  }
  worker {
    requests {
      cpu    = "250m"
      memory = "1Gi"
    }
    limits {
      cpu    = 2
      memory = "3Gi"
    }
  }
  executor {
    cores  = var.cores
    memory = "1g"
  }
  driver { memory = "512m" }
  properties = {
    "spark.ui.enabled"             = true
    "spark.sql.shuffle.partitions" = 8
    "spark.memory.fraction"        = 0.6
    "spark.app.name"               = ""
  }
}
