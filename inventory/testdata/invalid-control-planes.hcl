cluster "a" { kubernetes = "1.36" }
ssh { user = "ubuntu" }
node "nuc01" {
  address = "192.168.1.11"
  role    = "control-plane"
}
node "nuc02" {
  address = "192.168.1.12"
  role    = "control-plane"
}
node "nuc03" {
  address = "192.168.1.13"
  role    = "control-plane"
}
