# Written by `nucspark lab up`, removed by `nucspark lab down` if nobody changed it.

cluster "lab" {
  kubernetes = "1.36"
}

ssh {
  user        = "nuc"
  private_key = "/state/id_ed25519"
}

node "nuc01" {
  address  = "172.31.77.11"
  host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK8Go+MpFxTk81bBnJsVzRlR7G5mYqp3vgdUfyiTgzQd"
  role     = "control-plane"

  nfs {
    export = "/data/nfs"
  }

  hdfs {
    dirs = ["/data/hdfs"]
  }
}

volume "shared" {
  node = "nuc01"
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

# The nodes are containers. What follows is for them; a mini PC needs none of it.

# Their kernel cannot mount NFS; the program that does it for them speaks version 3.
nfs {
  version = "3"
}

# Their kernel is this machine's, with its control groups and its swap, and so
# is their disk: how much of it others fill says nothing about a node.
patch "kubelet" {
  config = {
    imageGCHighThresholdPercent = 100
    evictionHard = {
      "memory.available"  = "100Mi"
      "nodefs.available"  = "1Gi"
      "imagefs.available" = "1Gi"
    }
  }
}

# A container cannot set the size of the connection table; 0 leaves it as it is.
patch "kube-proxy" {
  config = {
    conntrack = {
      maxPerCore = 0
    }
  }
}

# This check wants the kernel's configuration, which a container does not have,
# and refuses version 1 control groups.
patch "kubeadm" {
  ignore_preflight_errors = ["SystemVerification"]
}
