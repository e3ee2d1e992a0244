# Written by `nucspark lab up`, removed by `nucspark lab down` if nobody changed it.

cluster "lab" {
  kubernetes = "1.36"
}

ssh {
  user        = "nuc"
  private_key = "/state/id_ed25519"

  # Without hardware virtualization a log-in takes long.
  connect_timeout = "3m"
}

node "nuc01" {
  address  = "172.31.77.11"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK8Go+MpFxTk81bBnJsVzRlR7G5mYqp3vgdUfyiTgzQd"
  role     = "control-plane"
}

node "nuc02" {
  address  = "172.31.77.12"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3wQSXwAVr7R86FOu+HcglP+UmMFMsbnhKXPCkn2g+m"

  nfs {
    export = "/data/nfs"
  }

  hdfs {
    dirs = ["/data/hdfs"]
  }
}

volume "shared" {
  node = "nuc02"
  size = "1Gi"
}

hdfs {
  replication = 1

  namenode {
    limits {
      memory = "1Gi"
    }
  }

  datanode {
    limits {
      memory = "1Gi"
    }
  }
}

spark {
  worker {
    requests {
      cpu    = "250m"
      memory = "1Gi"
    }

    limits {
      cpu    = "2"
      memory = "3Gi"
    }
  }

  executor {
    cores  = 2
    memory = "1g"
  }

  driver {
    memory = "1g"
  }
}

mirror {
  apt      = "http://172.31.77.2/"
  registry = "http://172.31.77.2:5000"
  keys     = ["/state/key.asc"]
}
