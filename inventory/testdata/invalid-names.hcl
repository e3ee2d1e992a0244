cluster "My Cluster" {
  kubernets = "1.36"
}
shs {
  user = "ubuntu"
}
ssh {
  user        = "-oProxyCommand=x"
  private-key = "~/.ssh/id_ed25519"
  wibble      = 1
}
node "nuc01" {
  adress = "192.168.1.11"
  role   = "control-plane"
  nfs    = { export = "/srv/nfs" }
}
node "nuc_02" {
  address = "192.168.1.12"
  role    = "wroker"
  labels {
    a = "b"
  }
}
node "localhost" {
  address = "192.168.1.13"
}
node "-x" {
  address = "192.168.1.14"
}
node "a\nb" {
  address = "192.168.1.15"
}
volume "Shared" {
  node = "nuc02"
  size = "1Gi"
}
patch "kubelte" {
  config = {}
}
patch "kube-proxy" {
}
patch "kubelet" {
  config                  = { a = 1, a = 2 }
  ignore_preflight_errors = ["all", "x y"]
}
