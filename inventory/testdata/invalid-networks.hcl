cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
  nfs { export = "/srv/nfs" }
}
network {
  pods     = "10.0.0.0/8"
  services = "10.96.0.0/30"
}
access { allow = ["everybody", "0.0.0.0/0", "10.0.0.1/8"] }
