cluster "a" { kubernetes = 1.36 }
ssh {
  user            = "ubuntu"
  port            = "22"
  password        = 1234
  private_key     = "no-such-file"
  known_hosts     = "~other/known_hosts"
  connect_timeout = 10
  idle_timeout    = "10 minutes"
}
apt { lock_timeout = "0s" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
  nfs {
    export = "/srv/nfs"
    server = "kernal"
  }
  hdfs { dirs = ["/data/hdfs"] }
}
volume "a" {
  node = "a"
  size = 50
  uid  = 1.5
  gid  = -1
  mode = 0775
}
volume "b" {
  node = "a"
  size = "50"
  mode = "rwx"
}
volume "c" {
  node = "a"
  size = "50 GB"
}
volume "d" {
  node = "a"
  size = "99999999P"
  mode = true
}
volume "e" {
  node = "a"
  size = "0Gi"
  mode = "4755"
}
nfs { version = 4 }
hdfs {
  replication = 0
  reserve     = "15%"
}
spark {
  worker {
    limits {
      cpu    = "three"
      memory = ["10Gi"]
    }
  }
  executor {
    cores  = 0
    memory = "100m"
  }
  properties = {
    "sparc.ui.enabled" = true
    "spark.list"       = [1]
    "spark.line"       = "a\nb"
  }
}
