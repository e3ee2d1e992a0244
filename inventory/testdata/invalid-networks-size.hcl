cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
node "b" { address = "192.168.1.12" }
network {
  pods     = "10.244.0.0/24"
  services = "fd00::/108"
}
