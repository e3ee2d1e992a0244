cluster "a" {
  kubernetes = "1.36"
}
cluster "b" {
  kubernetes = "1.36"
}
ssh { user = "ubuntu" }
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
  mac     = "1c:69:7a:01:02:03"
}
node "nuc02" {
  address = "192.168.1.11"
  mac     = "1C-69-7A-01-02-03"
  nfs { export = "/srv/nfs" }
  nfs { export = "/srv/nfs2" }
}
node "nuc02" {
  address = "192.168.1.13"
  nfs { export = "/srv/nfs" }
}
volume "v" {
  node = "nuc02"
  size = "1Gi"
}
volume "v" {
  node = "nuc02"
  size = "1Gi"
}
variable "x" { default = 1 }
variable "x" { default = 2 }
registry "ghcr.io" {
  username = "a"
  password = var.p
}
registry "ghcr.io" {
  username = "a"
  password = var.p
}
variable "p" { default = "x" }
patch "kubelet" { config = { a = 1 } }
patch "kubelet" { config = { a = 1 } }
