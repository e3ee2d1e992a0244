# Every block and attribute there is. What is commented out names files or
# machines that only you have, or is better left out; everything else shows its
# default or a likely value. Nothing here is needed beyond what
# examples/cluster.hcl has.

# Values that do not belong into a file come from the environment.
variable "sudo_password" {
  default   = env("NUCSPARK_SUDO_PASSWORD")
  sensitive = true # never printed, logged or put into a process list
}

variable "registry_password" {
  default   = env("NUCSPARK_REGISTRY_PASSWORD")
  sensitive = true
}

variable "disk" {
  default = "/data/hdfs"
}

cluster "nucs" {
  kubernetes = "1.36" # or one patch of it, "1.36.3"
  cache      = true   # what nodes download comes from outside once
}

# How the machines are reached.
ssh {
  user          = "ubuntu"
  port          = 22
  sudo_password = var.sudo_password # where sudo asks for one
  # private_key = "~/.ssh/id_ed25519" # the agent is asked first
  # known_hosts = "known_hosts"       # a file beside this one
  # password    = var.ssh_password    # tried last
  connect_timeout = "10s"
  idle_timeout    = "10m" # a command that prints nothing for so long is given up
}

apt {
  lock_timeout = "10m" # how long to wait for unattended upgrades
}

# The first machine carries the control plane and the namenode.
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
  mac     = "1c:69:7a:01:02:03" # of its network card, for "nucspark wake"
}

node "nuc02" {
  address = "192.168.1.12"
  role    = "worker" # the default
  port    = 22
  # host_key = "ssh-ed25519 AAAA…" # as /etc/ssh/ssh_host_ed25519_key.pub has it

  labels = {
    "example.org/rack" = "shelf-1"
  }

  nfs {
    export = "/srv/nfs"
    server = "kernel" # or "ganesha"; left out, what the machine can do
  }
  hdfs {
    dirs = [var.disk, "/data2/hdfs"] # one for each disk
  }
}

node "nuc03" {
  address = "192.168.1.13"
  hdfs { dirs = [var.disk] }
}

node "nuc04" {
  address = "192.168.1.14"
  hdfs { dirs = [var.disk] }
}

# An NFS directory, ready to be mounted by pods.
volume "shared" {
  node = "nuc02"
  size = "50Gi" # what pods are told; NFS does not enforce it
  uid  = 871    # the user spark, as which applications run
  gid  = 871
  mode = "0775"
}

network {
  pods     = "10.244.0.0/16"
  services = "10.96.0.0/16"
}

# Who, besides the machines and the pods, may reach the cluster's ports.
access {
  allow = ["192.168.1.50", "192.168.2.0/24"]
}

# A mirror serves what the machines would fetch from the internet.
# mirror {
#   apt      = "http://192.168.1.5/apt/"
#   registry = "http://192.168.1.5:5000"
#   keys     = ["mirror.asc"]
# }

registry "docker.io" {
  username = "someone"
  password = var.registry_password
}

images {
  hadoop      = "docker.io/apache/hadoop:3.5.0"
  spark       = "docker.io/apache/spark:4.0.5-scala2.13-java17-python3-ubuntu"
  flannel     = "ghcr.io/flannel-io/flannel:v0.28.4"
  flannel_cni = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1"
}

# What nucspark has no attribute for. Patches come after its own values.
patch "kubelet" {
  config = {
    maxPods = 60
  }
}

patch "containerd" {
  config = {
    plugins = {
      "io.containerd.cri.v1.images" = { max_concurrent_downloads = 6 }
    }
  }
}

patch "kube-proxy" {
  config = {
    conntrack = { maxPerCore = 65536 }
  }
}

patch "kubeadm" {
  ignore_preflight_errors = ["NumCPU"] # a control plane with one core
}

nfs {
  version = "4.2"
  server  = "kernel"
}

hdfs {
  replication = 2
  reserve     = "20Gi" # left free on each disk; 15 % of it by default

  namenode {
    dir            = "/var/lib/nucspark/namenode"
    checkpoint_dir = "/var/lib/nucspark/checkpoint"
    requests {
      cpu    = "250m"
      memory = "1Gi"
    }
    limits {
      # cpu  = "2" # without one it takes what is free
      memory = "2Gi"
    }
  }

  datanode {
    requests {
      cpu    = "250m"
      memory = "1Gi"
    }
    limits {
      # cpu  = "1"
      memory = "1Gi"
    }
  }
}

spark {
  master {
    requests {
      cpu    = "100m"
      memory = "512Mi"
    }
    limits {
      # cpu  = "1"
      memory = "1Gi"
    }
  }

  # What one machine gives to Spark …
  worker {
    # requests {
    #   cpu    = "100m" # by default what the worker itself takes
    #   memory = "768Mi"
    # }
    limits {
      cpu    = "3"
      memory = "10Gi"
    }
  }

  # … and how an application divides it. PySpark wants more beside the heap.
  executor {
    cores  = 3
    memory = "7g"
  }

  driver {
    cores  = 1
    memory = "1g"
  }

  properties = {
    "spark.sql.shuffle.partitions" = 24
    "spark.sql.adaptive.enabled"   = true
  }
}
