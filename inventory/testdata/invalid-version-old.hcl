cluster "a" { kubernetes = "1.29" }
ssh { user = "ubuntu" }
node "a" {
  address = "192.168.1.11"
  role    = "control-plane"
}
